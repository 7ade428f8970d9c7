// What only root can try, in name spaces of its own, so that nothing stays behind. Exit code 77
// where that is not possible.
#define CATCH_CONFIG_RUNNER
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include <catch2/catch.hpp>

#include "vmm/host/disk_engine.h"
#include "vmm/host/pool_engine.h"
#include "vmm/host/tap.h"

namespace ftvmm::host {
namespace {

constexpr std::size_t kFrameBytes = Tap::kHeaderBytes + 60;
using Frame = std::array<std::byte, kFrameBytes>;

// A broadcast of an EtherType for experiments, so that nothing else looks like it.
Frame frame_with(std::byte mark) {
    Frame frame{};
    std::fill_n(frame.begin() + Tap::kHeaderBytes, 6, std::byte{0xff});
    frame[Tap::kHeaderBytes + 6] = std::byte{0x02};
    frame[Tap::kHeaderBytes + 12] = std::byte{0x88};
    frame[Tap::kHeaderBytes + 13] = std::byte{0xb5};
    frame[Tap::kHeaderBytes + 14] = mark;
    return frame;
}

// Whether `to` gets what `from` sends, behind a header; the kernel's own frames are passed over.
bool arrives(const Tap& from, const Tap& to, std::byte mark) {
    const Frame sent = frame_with(mark);
    const auto written = from.write_frame(sent);
    REQUIRE(written);
    REQUIRE(*written);
    constexpr int kPatienceMs = 5000;
    std::array<std::byte, 2048> got{};
    while (true) {
        pollfd ready{to.fd(), POLLIN, 0};
        if (::poll(&ready, 1, kPatienceMs) != 1) return false;
        const auto length = to.read_frame(got);
        REQUIRE(length);
        if (*length == kFrameBytes && std::ranges::equal(sent, std::span(got).first(kFrameBytes)))
            return true;
    }
}

bool run(const char* command) {
    // NOLINTNEXTLINE(cert-env33-c,bugprone-command-processor,concurrency-mt-unsafe)
    return std::system(command) == 0;
}

TEST_CASE("A bridge or tap that does not exist is named, with how to make it") {
    const auto bridged = Tap::create_on("br-none");
    REQUIRE_FALSE(bridged);
    CHECK_THAT(bridged.error().line(), Catch::Contains("ip link add br-none type bridge"));
    const auto opened = Tap::open("tap-none");
    REQUIRE_FALSE(opened);
    CHECK_THAT(opened.error().line(), Catch::Contains("ip tuntap add dev tap-none"));
    const auto not_a_bridge = Tap::create_on("lo");
    REQUIRE_FALSE(not_a_bridge);
    CHECK_THAT(not_a_bridge.error().line(), Catch::Contains("lo is not a bridge"));
}

TEST_CASE("Taps on a bridge are up, exchange frames, refuse a second user and go away") {
    // No IPv6: its own frames would keep an idle tap from being idle.
    (void)run("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null");
    if (!run("ip link add br-test type bridge 2>/dev/null && ip link set br-test up")) {
        WARN("no bridges in this kernel");
        return;
    }
    std::string name;
    {
        const auto tap = Tap::create_on("br-test");
        const auto other = Tap::create_on("br-test");
        REQUIRE(tap);
        REQUIRE(other);
        name = tap->name();
        CHECK(run(("ip link show up master br-test | grep -q " + name).c_str()));
        CHECK(arrives(*tap, *other, std::byte{1}));
        CHECK(arrives(*other, *tap, std::byte{2}));
        Frame into{};
        const auto idle = tap->read_frame(into);
        REQUIRE(idle);
        CHECK_FALSE(idle->has_value());
        CHECK(tap->set_offload(TapOffload{.checksum = true, .tso4 = true}));
        const auto second = Tap::open(name);
        REQUIRE_FALSE(second);
        CHECK_THAT(second.error().line(), Catch::Contains(name) && Catch::Contains("stop the VM"));
    }
    CHECK(::if_nametoindex(name.c_str()) == 0);
}

TEST_CASE("A full file system is an error of the write, and later requests work") {
    REQUIRE(::mount("tmpfs", "/mnt", "tmpfs", 0, "size=64k") == 0);
    const bool pool = GENERATE(false, true);
    constexpr std::uint64_t kBytes = std::uint64_t{1} << 20;
    {
        const Fd file(::open("/mnt/disk", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        REQUIRE(::ftruncate(file.get(), kBytes) == 0);
    }
    const auto disk = DiskFile::open("/mnt/disk", DiskAccess::kReadWrite);
    REQUIRE(disk);
    const auto engine = pool ? PoolEngine::create(*disk) : make_disk_engine(*disk);
    REQUIRE(engine);
    const auto ask = [&](DiskOperation operation, std::uint64_t length) {
        REQUIRE((*engine)->try_submit(
            DiskRequest{DiskRequestId(1),
                        operation,
                        0,
                        length,
                        AlignedBuffer(length),
                        SharedBytes::copy_of(std::vector(length, std::byte{1})),
                        {}}));
        pollfd ready{(*engine)->ready_fd(), POLLIN, 0};
        while (true) {
            REQUIRE(::poll(&ready, 1, 30000) == 1);
            if (const auto done = (*engine)->take_completions(); !done.empty()) {
                CHECK(done.size() == 1);
                return done[0].error_number;
            }
        }
    };
    CHECK(ask(DiskOperation::kWrite, kBytes) == ENOSPC);
    CHECK(ask(DiskOperation::kWrite, kBufferAlignment) == 0);
    CHECK(ask(DiskOperation::kRead, kBytes) == 0);
    CHECK(ask(DiskOperation::kFlush, 0) == 0);
}

}  // namespace
}  // namespace ftvmm::host

int main(int argc, char** argv) {
    constexpr int kSkipped = 77;
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::access("/dev/net/tun", R_OK | W_OK) != 0) {
        std::puts("skipped: needs root, name spaces and /dev/net/tun");
        return kSkipped;
    }
    return Catch::Session().run(argc, argv);
}
