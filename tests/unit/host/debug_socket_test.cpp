#include "vmm/host/debug_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "temp_folder.h"

namespace ftvmm::host {
namespace {

using testing::TempFolder;

Fd connect_to(const std::string& path) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(&address.sun_path, path.data(), path.size());
    REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
}

void send_to(const Fd& fd, std::string_view text) {
    REQUIRE(::send(fd.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
}

std::string text_of(const Result<std::vector<std::byte>>& bytes) {
    REQUIRE(bytes);
    std::string text;
    for (const std::byte byte : *bytes)
        text += static_cast<char>(byte);
    return text;
}

}  // namespace

TEST_CASE("A debugger is answered, and its Ctrl-C is told from what else it sends") {
    const TempFolder folder;
    auto socket = DebugSocket::listen(folder.file("debug")).value();
    const Fd debugger = connect_to(folder.file("debug"));
    REQUIRE(socket.accept());
    CHECK_FALSE(socket.is_interrupted());
    send_to(debugger, "$c#63");
    CHECK(text_of(socket.receive()) == "$c#63");
    send_to(debugger, "+");
    CHECK_FALSE(socket.is_interrupted());
    send_to(debugger, "\x03$g#67");
    CHECK(socket.is_interrupted());
    CHECK_FALSE(socket.is_interrupted());
    CHECK(text_of(socket.receive()) == "+$g#67");

    REQUIRE(socket.send("+$OK#9a"));
    std::array<char, 16> reply{};
    CHECK(::recv(debugger.get(), reply.data(), reply.size(), 0) == 7);
    CHECK(std::string_view(reply.data()) == "+$OK#9a");
}

TEST_CASE("A debugger that is gone interrupts, and has nothing more to say") {
    const TempFolder folder;
    auto socket = DebugSocket::listen(folder.file("debug")).value();
    {
        const Fd debugger = connect_to(folder.file("debug"));
        REQUIRE(socket.accept());
    }
    CHECK(socket.is_interrupted());
    CHECK(text_of(socket.receive()).empty());
    CHECK_FALSE(socket.send("+"));
}

TEST_CASE("The socket of a debugger is its owner's alone and goes away") {
    const TempFolder folder;
    {
        const auto socket = DebugSocket::listen(folder.file("debug"));
        REQUIRE(socket);
        struct stat found {};
        REQUIRE(::stat(folder.file("debug").c_str(), &found) == 0);
        CHECK((found.st_mode & 0777U) == 0600);
        CHECK_FALSE(DebugSocket::listen(folder.file("debug")));
    }
    CHECK(::access(folder.file("debug").c_str(), F_OK) != 0);
}

TEST_CASE("What is neither a port nor a path is refused") {
    for (const char* where : {"", "0", "65536", "12x", "debug"}) {
        CAPTURE(where);
        CHECK_FALSE(DebugSocket::listen(where));
    }
    CHECK_FALSE(DebugSocket::listen("./" + std::string(200, 'a')));
}

}  // namespace ftvmm::host
