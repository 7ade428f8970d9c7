#include "base/check.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include <catch2/catch.hpp>

#include "base/flight_recorder.h"

namespace ftvmm {
namespace {

// Runs `body` in a child process and returns what it wrote to standard error; `status` as waitpid.
template <class Body>
std::string stderr_of_child(Body body, int& status) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe(ends.data()) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        ::signal(SIGABRT, SIG_DFL);
        body();
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string text;
    std::array<char, 512> buffer{};
    for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
        text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    ::close(ends[0]);
    REQUIRE(::waitpid(child, &status, 0) == child);
    return text;
}

TEST_CASE("A check that holds does nothing") {
    FTVMM_CHECK(1 + 1 == 2, "arithmetic holds");
}

TEST_CASE("A broken check names the invariant, dumps the last events and aborts") {
    int status = 0;
    const std::string text = stderr_of_child(
        [] {
            FlightRecorder::this_thread().note("exit", 0x12, 0xab);
            FTVMM_CHECK(1 == 2, "one is two");
        },
        status);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
    CHECK_THAT(text, Catch::Contains("broken invariant: one is two (1 == 2, ") &&
                         Catch::Contains("check_test.cpp:") && Catch::Contains("#0 exit 12 ab"));
}

TEST_CASE("The flight recorder keeps the newest events, oldest first") {
    int status = 0;
    const std::string text = stderr_of_child(
        [] {
            FlightRecorder recorder;
            for (std::uint64_t i = 0; i < FlightRecorder::kEvents + 3; ++i)
                recorder.note("n", i);
            recorder.dump(STDERR_FILENO);
        },
        status);
    CHECK_THAT(text, Catch::StartsWith("  #3 n 3 0\n") && Catch::EndsWith("  #66 n 42 0\n"));
    CHECK(std::count(text.begin(), text.end(), '\n') == FlightRecorder::kEvents);
}

}  // namespace
}  // namespace ftvmm
