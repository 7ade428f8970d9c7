#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "temp_folder.h"
#include "vmm/host/console_log.h"
#include "vmm/host/console_socket.h"
#include "vmm/host/terminal_console.h"

namespace ftvmm::host {
namespace {

using testing::TempFolder;

Fd connect_to(const std::string& path) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(&address.sun_path, path.data(), path.size());
    REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

std::string text_of(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes)
        text += static_cast<char>(byte);
    return text;
}

// All that waits there now.
std::string read_all(int fd) {
    std::string text;
    std::array<char, 65536> bytes{};
    for (ssize_t got = 0; (got = ::read(fd, bytes.data(), bytes.size())) > 0;)
        text.append(bytes.data(), static_cast<std::size_t>(got));
    return text;
}

bool is_readable(int fd) {
    pollfd state{fd, POLLIN, 0};
    return ::poll(&state, 1, 0) == 1;
}

bool wait_readable(int fd) {
    constexpr int kPatienceMs = 5000;
    pollfd state{fd, POLLIN, 0};
    return ::poll(&state, 1, kPatienceMs) == 1;
}

TEST_CASE("The tail holds the last bytes for readers wherever they are") {
    ConsoleTail tail(8);
    CHECK(tail.from(tail.next(0)).empty());
    SeededEntropy entropy(3);
    std::string all;
    for (int i = 0; i < 1000; ++i) {
        const std::string more(entropy.below(20), static_cast<char>('a' + i % 26));
        tail.append(bytes_of(more));
        all += more;
        std::string seen;
        for (auto at = tail.next(0); at != tail.end(); at += tail.from(at).size())
            seen += text_of(tail.from(at));
        REQUIRE(seen == all.substr(all.size() - std::min<std::size_t>(all.size(), 8)));
    }
}

TEST_CASE("A socket's clients see what was printed before they came and after, and may type") {
    const TempFolder folder;
    const auto console = ConsoleSocket::listen(folder.file("console"));
    REQUIRE(console);
    struct stat made {};
    REQUIRE(::stat(folder.file("console").c_str(), &made) == 0);
    CHECK((made.st_mode & 0777U) == 0600);
    REQUIRE((*console)->print(bytes_of("before ")));
    const Fd one = connect_to(folder.file("console"));
    const Fd two = connect_to(folder.file("console"));
    CHECK(is_readable((*console)->fd()));
    CHECK((*console)->service(100).empty());
    REQUIRE((*console)->print(bytes_of("after")));
    CHECK(read_all(one.get()) == "before after");
    CHECK(read_all(two.get()) == "before after");
    CHECK_FALSE(is_readable((*console)->fd()));
    REQUIRE(::write(two.get(), "ls\r", 3) == 3);
    CHECK(is_readable((*console)->fd()));
    CHECK(text_of((*console)->service(100)) == "ls\r");
}

TEST_CASE("A client that leaves is forgotten; one that only stops typing still sees") {
    const TempFolder folder;
    const auto console = ConsoleSocket::listen(folder.file("console"));
    REQUIRE(console);
    Fd quiet = connect_to(folder.file("console"));
    {
        const Fd leaving = connect_to(folder.file("console"));
        REQUIRE(::write(leaving.get(), "bye", 3) == 3);
        (void)::shutdown(quiet.get(), SHUT_WR);
        (void)(*console)->service(0);
        CHECK((*console)->clients() == 2);
    }
    CHECK(text_of((*console)->service(100)) == "bye");
    CHECK((*console)->clients() == 1);
    CHECK_FALSE(is_readable((*console)->fd()));
    REQUIRE((*console)->print(bytes_of("still here")));
    CHECK(read_all(quiet.get()) == "still here");
    quiet = Fd();
    (void)(*console)->service(100);
    CHECK((*console)->clients() == 0);
    CHECK_FALSE(is_readable((*console)->fd()));
}

TEST_CASE("What is typed while the guest has no room stays with the client") {
    const TempFolder folder;
    const auto console = ConsoleSocket::listen(folder.file("console"));
    REQUIRE(console);
    Fd client = connect_to(folder.file("console"));
    (void)(*console)->service(0);
    REQUIRE(::write(client.get(), "typed", 5) == 5);
    CHECK((*console)->service(0).empty());
    CHECK_FALSE(is_readable((*console)->fd()));
    // Nor does a hang-up keep the io thread busy.
    client = Fd();
    CHECK((*console)->service(0).empty());
    CHECK_FALSE(is_readable((*console)->fd()));
    CHECK(text_of((*console)->service(3)) == "typ");
    CHECK(text_of((*console)->service(100)) == "ed");
    CHECK((*console)->clients() == 0);
}

TEST_CASE("A client that does not read holds up nobody, and misses the oldest of it") {
    const TempFolder folder;
    const auto console = ConsoleSocket::listen(folder.file("console"));
    REQUIRE(console);
    const Fd client = connect_to(folder.file("console"));
    (void)(*console)->service(100);
    const std::string line(1000, 'x');
    for (int i = 0; i < 5000; ++i)
        REQUIRE((*console)->print(bytes_of(line)));
    REQUIRE((*console)->print(bytes_of("the end")));
    std::string seen;
    for (int i = 0; i < 100; ++i) {
        seen += read_all(client.get());
        (void)(*console)->service(100);
    }
    CHECK(seen.size() < 5000 * line.size());
    CHECK(seen.size() >= ConsoleSocket::kTailBytes);
    CHECK(seen.ends_with("the end"));
    CHECK_FALSE(is_readable((*console)->fd()));
}

TEST_CASE("More clients than there is room for are turned away") {
    const TempFolder folder;
    const auto console = ConsoleSocket::listen(folder.file("console"));
    REQUIRE(console);
    std::vector<Fd> clients;
    for (std::size_t i = 0; i <= ConsoleSocket::kMaxClients; ++i) {
        clients.push_back(connect_to(folder.file("console")));
        (void)(*console)->service(100);
    }
    CHECK((*console)->clients() == ConsoleSocket::kMaxClients);
    CHECK(is_readable(clients.back().get()));
    CHECK_FALSE(is_readable(clients.front().get()));
}

TEST_CASE("A stale socket is replaced; a live one and any other file are left alone") {
    const TempFolder folder;
    const std::string path = folder.file("console");
    {
        // What a process that was killed leaves behind.
        const Fd killed(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(&address.sun_path, path.data(), path.size());
        REQUIRE(::bind(killed.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
                0);
    }
    {
        const auto console = ConsoleSocket::listen(path);
        REQUIRE(console);
        const auto second = ConsoleSocket::listen(path);
        REQUIRE_FALSE(second);
        CHECK_THAT(second.error().line(), Catch::Contains("another process listens there"));
        CHECK(connect_to(path).valid());
        // Somebody puts his own file where the socket was: it is not ours to remove.
        REQUIRE(::unlink(path.c_str()) == 0);
        const Fd foreign(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        REQUIRE(::write(foreign.get(), "mine", 4) == 4);
    }
    CHECK(::access(path.c_str(), F_OK) == 0);
    const auto refused = ConsoleSocket::listen(path);
    REQUIRE_FALSE(refused);
    CHECK_THAT(refused.error().line(), Catch::Contains("no socket"));
    CHECK(::access(path.c_str(), F_OK) == 0);
    CHECK_FALSE(ConsoleSocket::listen(std::string(200, 'x')));
}

TEST_CASE("A socket's file goes away with it") {
    const TempFolder folder;
    CHECK(ConsoleSocket::listen(folder.file("console")));
    CHECK(::access(folder.file("console").c_str(), F_OK) != 0);
}

struct Pty {
    Fd master;
    Fd slave;
};
Pty make_pty() {
    int master = -1;
    int slave = -1;
    REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
    REQUIRE(::fcntl(master, F_SETFL, O_NONBLOCK) == 0);
    return {Fd(master), Fd(slave)};
}
bool is_raw(const Fd& fd) {
    termios now{};
    REQUIRE(::tcgetattr(fd.get(), &now) == 0);
    return (now.c_lflag & ICANON) == 0;
}

TEST_CASE("A terminal is raw until its user leaves, and then shows what else is printed") {
    const Pty pty = make_pty();
    const auto console = TerminalConsole::attach(pty.slave.get(), pty.slave.get());
    REQUIRE(console);
    CHECK(is_raw(pty.slave));
    REQUIRE((*console)->print(bytes_of("login: ")));
    CHECK(read_all(pty.master.get()) == "login: ");
    REQUIRE(::write(pty.master.get(), "\x03", 1) == 1);
    CHECK(is_readable((*console)->fd()));
    CHECK(text_of((*console)->service(100)) == "\x03");
    REQUIRE(::write(pty.master.get(), "\x1d\x1d", 2) == 2);
    CHECK((*console)->service(100).empty());
    CHECK((*console)->left());
    CHECK_FALSE(is_raw(pty.slave));
    REQUIRE((*console)->print(bytes_of("bye")));
    CHECK(read_all(pty.master.get()) == "bye");
    // Those who share the terminal find it waiting, as they had it.
    CHECK((::fcntl(pty.slave.get(), F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("A terminal that is not read holds up nobody, and gets the rest later") {
    const Pty pty = make_pty();
    const auto console = TerminalConsole::attach(pty.slave.get(), pty.slave.get());
    REQUIRE(console);
    const std::string text(300000, 'x');
    REQUIRE((*console)->print(bytes_of(text)));
    std::string seen;
    while (seen.size() < text.size()) {
        const std::string more = read_all(pty.master.get());
        REQUIRE_FALSE(more.empty());
        seen += more;
        (void)(*console)->service(100);
    }
    CHECK(seen == text);
    CHECK_FALSE(is_readable((*console)->fd()));
}

TEST_CASE("What a slow reader has not taken yet is still given to him at the end") {
    const Pty pty = make_pty();
    const std::string text(100000, 'x');
    std::string seen;
    std::thread reader;
    {
        const auto console = TerminalConsole::attach(pty.slave.get(), pty.slave.get());
        REQUIRE(console);
        REQUIRE((*console)->print(bytes_of(text)));
        reader = std::thread([&] {
            while (seen.size() < text.size() && wait_readable(pty.master.get()))
                seen += read_all(pty.master.get());
        });
    }
    reader.join();
    CHECK(seen == text);
}

TEST_CASE("A console without a keyboard or with one that ends only prints") {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    REQUIRE(::pipe2(in.data(), O_CLOEXEC) == 0);
    REQUIRE(::pipe2(out.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    const Fd in_read(in[0]);
    Fd in_write(in[1]);
    const Fd out_read(out[0]);
    const Fd out_write(out[1]);
    const auto console = TerminalConsole::attach(in_read.get(), out_write.get());
    REQUIRE(console);
    REQUIRE(::write(in_write.get(), "abc", 3) == 3);
    in_write = Fd();
    CHECK(text_of((*console)->service(100)) == "abc");
    CHECK((*console)->service(100).empty());
    CHECK_FALSE(is_readable((*console)->fd()));
    CHECK_FALSE((*console)->left());
    REQUIRE((*console)->print(bytes_of("out")));
    CHECK(read_all(out_read.get()) == "out");
    const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const auto silent = TerminalConsole::attach(null.get(), null.get());
    REQUIRE(silent);
    CHECK_FALSE(is_readable((*silent)->fd()));
}

TEST_CASE("A log has all that was printed, after what was there, and says when it cannot") {
    const TempFolder folder;
    for (const char* part : {"one ", "two"}) {
        const auto log = ConsoleLog::open(folder.file("console"));
        REQUIRE(log);
        REQUIRE((*log)->print(bytes_of(part)));
    }
    const Fd file(::open(folder.file("console").c_str(), O_RDONLY | O_CLOEXEC));
    CHECK(read_all(file.get()) == "one two");
    const auto full = ConsoleLog::open("/dev/full");
    REQUIRE(full);
    const auto printed = (*full)->print(bytes_of("x"));
    REQUIRE_FALSE(printed);
    CHECK_THAT(printed.error().line(), Catch::Contains("/dev/full"));
    CHECK_FALSE(ConsoleLog::open("/no/such/folder/log"));
}

}  // namespace
}  // namespace ftvmm::host
