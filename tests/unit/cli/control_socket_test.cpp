// Where runs tell what they are doing, and who asks there.
#include "cli/control_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "cli/status_board.h"
#include "cli/status_query.h"
#include "temp_folder.h"

using namespace ftvmm;
using namespace ftvmm::cli;
using Catch::Matchers::Contains;
using testing::TempFolder;

namespace {

constexpr std::chrono::milliseconds kShort{20};

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(&address.sun_path, path.data(), path.size());
    return address;
}

Fd connect_to(const std::string& path) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(path);
    REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
}

// What a process that was killed leaves behind; or, listening, one that never answers.
Fd bind_at(const std::string& path, bool listens) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(path);
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    if (listens) REQUIRE(::listen(fd.get(), 8) == 0);
    return fd;
}

config::VmConfig web1() {
    config::VmConfig config;
    config.name = "web1";
    return config;
}

std::string told_name(const std::string& document) {
    return nlohmann::json::parse(document)["name"];
}

}  // namespace

TEST_CASE("Whoever connects is given the document as it is then, and the connection ends") {
    const TempFolder folder;
    std::atomic<int> count{0};
    const auto socket = ControlSocket::listen(folder.file("web1.sock"), [&] {
                            return "{\"n\": " + std::to_string(++count) + "}";
                        }).value();
    for (const char* expected : {"{\"n\": 1}", "{\"n\": 2}"}) {
        const StatusAnswer answer = ask_status(folder.file("web1.sock"));
        CHECK(answer.document == expected);
        CHECK(answer.problem.empty());
        CHECK(answer.name == "web1");
    }
}

TEST_CASE("Clients that never read hold up nobody, and nothing is kept for them") {
    const TempFolder folder;
    const std::string path = folder.file("web1.sock");
    // As long as a document can be.
    std::string text = "\"" + std::string(ControlSocket::kMostBytes - 2, 'x') + "\"";
    const auto socket = ControlSocket::listen(path, [&] { return text; }).value();
    constexpr int kClients = 10 * ControlSocket::kMaxWaiting;
    std::vector<Fd> silent;
    silent.reserve(kClients);
    for (int i = 0; i < kClients; ++i)
        silent.push_back(connect_to(path));
    CHECK(ask_status(path).document == text);
}

TEST_CASE("The socket is its owner's alone and goes away with the run") {
    const TempFolder folder;
    {
        const auto board = StatusBoard::open(folder.file("own"), web1()).value();
        struct stat found {};
        REQUIRE(::stat(folder.file("own").c_str(), &found) == 0);
        CHECK((found.st_mode & 0777U) == 0600);
    }
    CHECK(folder.files() == 0);
}

TEST_CASE("A run that is not told where listens under the VM's name") {
    const TempFolder folder;
    const std::string place = folder.file("new");
    const auto board = StatusBoard::open("", web1(), place).value();
    CHECK(board->listens());
    CHECK(told_name(ask_status(place + "/web1.sock").document) == "web1");
}

TEST_CASE("A run where nobody can listen goes on, and one that was told where does not begin") {
    const TempFolder folder;
    const std::string nowhere = folder.file("missing/folder");
    const auto board = StatusBoard::open("", web1(), nowhere);
    REQUIRE(board);
    CHECK_FALSE((*board)->listens());
    CHECK_FALSE(StatusBoard::open(nowhere + "/web1.sock", web1()));
}

TEST_CASE("Of two runs of one name the first is told of, and the second says why it is not") {
    const TempFolder folder;
    const std::string path = folder.file("web1.sock");
    auto first = StatusBoard::open("", web1(), folder.file("")).value();
    const auto second = StatusBoard::open(path, web1());
    REQUIRE_FALSE(second);
    CHECK_THAT(second.error().line(), Contains(path + ": another process listens there"));
    auto third = StatusBoard::open("", web1(), folder.file("")).value();
    CHECK_FALSE(third->listens());
    third.reset();
    CHECK(told_name(ask_status(path).document) == "web1");
    first.reset();
    CHECK(StatusBoard::open(path, web1()));
}

TEST_CASE("What is shown changes, and nothing is asked of a run that is over") {
    const TempFolder folder;
    const auto board = StatusBoard::open(folder.file("own"), web1()).value();
    CHECK(board->look().trouble.empty());
    {
        const std::string trouble = "some";
        board->show([&trouble](VmStatus& status) { status.trouble = trouble; });
        CHECK(board->look().trouble == trouble);
        board->show({});
    }
    CHECK(board->look().trouble.empty());
    CHECK(board->look().name == "web1");
}

TEST_CASE("A socket that a dead run left is told from one of a run that does not answer") {
    const TempFolder folder;
    const std::string path = folder.file("web1.sock");
    const StatusAnswer missing = ask_status(path);
    CHECK_THAT(missing.problem, Contains("no VM web1 runs on this host"));
    CHECK_FALSE(missing.is_gone);
    { const Fd killed = bind_at(path, false); }
    const StatusAnswer gone = ask_status(path);
    CHECK(gone.is_gone);
    CHECK_THAT(gone.problem, Contains("its run is gone"));
    const auto board = StatusBoard::open("", web1(), folder.file(""));
    CHECK((*board)->listens());

    const Fd silent = bind_at(folder.file("silent.sock"), true);
    const StatusAnswer unanswered = ask_status(folder.file("silent.sock"), kShort);
    CHECK_FALSE(unanswered.is_gone);
    CHECK_THAT(unanswered.problem, Contains("does not answer"));
    CHECK(unanswered.document.empty());
}

TEST_CASE("What is no run of ftvmm is said to be none") {
    const TempFolder folder;
    const std::string path = folder.file("console.sock");
    const auto socket = ControlSocket::listen(path, [] { return "Linux 6.1 ttyS0\n"; }).value();
    CHECK_THAT(ask_status(path).problem, Contains("no run of ftvmm"));
}

TEST_CASE("Every socket of a folder is asked, by name, and nothing else in it") {
    const TempFolder folder;
    const auto a = StatusBoard::open(folder.file("b.sock"), web1()).value();
    const auto b = StatusBoard::open(folder.file("a.sock"), web1()).value();
    const auto other = StatusBoard::open(folder.file("console"), web1()).value();
    const Fd file(::open(folder.file("c.sock").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const auto answers = ask_all(folder.file(""));
    REQUIRE(answers.size() == 2);
    CHECK(answers[0].name == "a");
    CHECK(answers[1].name == "b");
    CHECK(ask_all(folder.file("missing")).empty());
}
