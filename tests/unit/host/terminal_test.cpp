#include "vmm/host/terminal.h"

#include <catch2/catch.hpp>

#include "vmm/host/wall_clock.h"

namespace ftvmm::host {
namespace {

TEST_CASE("Keys pass on to the guest, a single Ctrl-] with the key behind it") {
    EscapeFilter filter;
    CHECK(filter.feed("ls\r\x03") == "ls\r\x03");
    CHECK(filter.feed("a\x1d").size() == 1);
    CHECK(filter.feed("b") ==
          "\x1d"
          "b");
    CHECK_FALSE(filter.left());
}

TEST_CASE("Ctrl-] twice leaves, also in two reads, and nothing passes on after it") {
    EscapeFilter filter;
    CHECK(filter.feed("\x1d").empty());
    CHECK(filter
              .feed("\x1d"
                    "rest")
              .empty());
    CHECK(filter.left());
    CHECK(filter.feed("more").empty());
}

TEST_CASE("What is no terminal cannot become raw") {
    CHECK_FALSE(RawTerminal::enter(-1));
}

TEST_CASE("A manual wall clock shows what it was set to") {
    ManualWallClock clock;
    clock.set(WallTime(std::chrono::seconds(1700000000)));
    CHECK(clock.now().time_since_epoch() == std::chrono::seconds(1700000000));
}

}  // namespace
}  // namespace ftvmm::host
