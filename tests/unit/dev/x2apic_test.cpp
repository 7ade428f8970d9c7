#include "vmm/dev/x2apic.h"

#include <catch2/catch.hpp>

namespace ftvmm::dev {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr std::uint32_t kTpr = 0x808;
constexpr std::uint32_t kPpr = 0x80a;
constexpr std::uint32_t kEoi = 0x80b;
constexpr std::uint32_t kSvr = 0x80f;
constexpr std::uint32_t kEsr = 0x828;
constexpr std::uint32_t kIcr = 0x830;
constexpr std::uint32_t kLvtTimer = 0x832;
constexpr std::uint32_t kLvtLint0 = 0x835;
constexpr std::uint32_t kLvtError = 0x837;
constexpr std::uint32_t kInitial = 0x838;
constexpr std::uint32_t kCurrent = 0x839;
constexpr std::uint32_t kDivide = 0x83e;
constexpr std::uint32_t kSelfIpi = 0x83f;

constexpr GuestTime kStart = GuestTime(seconds(7));

void must_write(X2Apic& apic, std::uint32_t msr, std::uint64_t value, GuestTime now = kStart) {
    REQUIRE(apic.write(msr, value, now));
}

TEST_CASE("The fixed registers say which controller this is") {
    const X2Apic apic;
    CHECK(apic.read(0x802, kStart) == 0);
    CHECK(apic.read(0x803, kStart) == 0x50014);
    CHECK(apic.read(0x80d, kStart) == 1);
    CHECK(apic.read(kSvr, kStart) == 0x1ff);
    CHECK(apic.accepts_extint());
}

TEST_CASE("Linux's calibration sees the timer run at 1 GHz over the divider") {
    X2Apic apic;
    must_write(apic, kLvtTimer, 0x100ec);
    must_write(apic, kDivide, 0x3);
    must_write(apic, kInitial, 250'000'000);
    CHECK_FALSE(apic.next_deadline());  // Masked: it only counts.
    CHECK(apic.read(kCurrent, kStart) == 250'000'000);
    CHECK(apic.read(kCurrent, kStart + milliseconds(100)) == 250'000'000 - 6'250'000);
    CHECK(apic.read(kCurrent, kStart + seconds(4)) == 0);
    CHECK_FALSE(apic.advance(kStart + seconds(5)));
    CHECK_FALSE(apic.pending());
}

TEST_CASE("Every divider counts at its own pace") {
    const auto [code, divisor] = GENERATE(table<std::uint64_t, std::uint64_t>(
        {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}}));
    X2Apic apic;
    must_write(apic, kDivide, code);
    must_write(apic, kInitial, 1'000'000);
    CHECK(apic.read(kCurrent, kStart + nanoseconds(128)) == 1'000'000 - 128 / divisor);
}

TEST_CASE("A one-shot expires once, at its nanosecond") {
    X2Apic apic;
    must_write(apic, kLvtTimer, 0xec);
    must_write(apic, kDivide, 0xb);
    must_write(apic, kInitial, 1000);
    CHECK(apic.next_deadline() == kStart + nanoseconds(1000));
    CHECK_FALSE(apic.advance(kStart + nanoseconds(999)));
    CHECK(apic.advance(kStart + nanoseconds(1000)));
    CHECK(apic.acknowledge() == 0xec);
    CHECK_FALSE(apic.next_deadline());
    CHECK_FALSE(apic.advance(kStart + seconds(9)));
    must_write(apic, kInitial, 1000, kStart + seconds(9));
    must_write(apic, kInitial, 0, kStart + seconds(9));
    CHECK_FALSE(apic.next_deadline());
}

TEST_CASE("A periodic timer looked at late stays on its grid and tells each tick by itself") {
    X2Apic apic;
    must_write(apic, kLvtTimer, 0x200ec);
    must_write(apic, kDivide, 0xb);
    must_write(apic, kInitial, 1000);
    CHECK(apic.advance(kStart + nanoseconds(3700)));
    CHECK(apic.read(kCurrent, kStart + nanoseconds(3700)) == 300);
    for (int tick = 0; tick < 3; ++tick) {
        // Not before the last one has been served.
        CHECK(apic.holds_tick());
        CHECK_FALSE(apic.advance(kStart + nanoseconds(3700)));
        CHECK(apic.acknowledge() == 0xec);
        CHECK_FALSE(apic.advance(kStart + nanoseconds(3700)));
        must_write(apic, kEoi, 0);
        CHECK_FALSE(apic.holds_tick());
        CHECK(apic.advance(kStart + nanoseconds(3700)) == (tick < 2));
    }
    CHECK(apic.next_deadline() == kStart + nanoseconds(4000));
    CHECK_FALSE(apic.pending());
}

TEST_CASE("A periodic timer's ticks do not wait for ever, nor for a timer that is set anew") {
    X2Apic apic;
    must_write(apic, kLvtTimer, 0x200ec);
    must_write(apic, kDivide, 0xb);
    must_write(apic, kInitial, 1000);
    const auto late = kStart + std::chrono::microseconds(5000);
    CHECK(apic.advance(late));
    // The 5000th period ends now; those before the last 1000 are gone.
    CHECK(apic.state().period_start_ns == kStart.time_since_epoch().count() + 4'000'000);
    CHECK(apic.write(kLvtTimer, 0x200ec, late));
    CHECK(apic.state().period_start_ns == kStart.time_since_epoch().count() + 5'000'000);
    CHECK(apic.acknowledge() == 0xec);
    must_write(apic, kEoi, 0);
    CHECK_FALSE(apic.advance(late));
}

TEST_CASE("A new divider takes the count over") {
    X2Apic apic;
    must_write(apic, kLvtTimer, 0xec);
    must_write(apic, kDivide, 0xb);
    must_write(apic, kInitial, 1000);
    must_write(apic, kDivide, 0x0, kStart + nanoseconds(400));
    CHECK(apic.read(kCurrent, kStart + nanoseconds(400)) == 600);
    CHECK(apic.next_deadline() == kStart + nanoseconds(400 + 1200));
}

TEST_CASE("Higher classes interrupt, equal ones wait, and EOI ends the highest first") {
    X2Apic apic;
    CHECK(apic.accept(0x41));
    CHECK(apic.acknowledge() == 0x41);
    CHECK(apic.read(kPpr, kStart) == 0x40);
    CHECK(apic.accept(0x4f));
    CHECK_FALSE(apic.pending());
    CHECK(apic.accept(0xf0));
    CHECK(apic.accept(0x52));
    CHECK(apic.acknowledge() == 0xf0);
    CHECK_FALSE(apic.pending());
    CHECK(apic.read(0x817, kStart) == 1U << 16);
    CHECK(apic.read(0x822, kStart) == (1U << 15 | 1U << 18));
    must_write(apic, kEoi, 0);
    CHECK(apic.acknowledge() == 0x52);
    must_write(apic, kEoi, 0);
    CHECK_FALSE(apic.pending());
    must_write(apic, kEoi, 0);
    CHECK(apic.acknowledge() == 0x4f);
}

TEST_CASE("The task priority holds its class and those below back") {
    X2Apic apic;
    CHECK(apic.accept(0x5f));
    must_write(apic, kTpr, 0x50);
    CHECK_FALSE(apic.pending());
    CHECK(apic.acknowledge() == 0xff);  // The spurious vector, not in service.
    CHECK_FALSE(apic.may_elide_eoi());
    apic.set_tpr(0x40);
    CHECK(apic.read(kTpr, kStart) == 0x40);
    CHECK(apic.pending() == 0x5f);
}

TEST_CASE("EOI may be elided while one vector is in service and no other asks") {
    X2Apic apic;
    CHECK_FALSE(apic.may_elide_eoi());
    CHECK(apic.accept(0xec));
    CHECK(apic.acknowledge() == 0xec);
    CHECK(apic.may_elide_eoi());
    CHECK(apic.accept(0x31));  // Waits for the EOI, which must therefore be seen.
    CHECK_FALSE(apic.may_elide_eoi());
    apic.elided_eoi();
    CHECK(apic.acknowledge() == 0x31);
    CHECK(apic.accept(0xec));
    CHECK(apic.acknowledge() == 0xec);
    CHECK_FALSE(apic.may_elide_eoi());  // Nested.
    apic.elided_eoi();
    CHECK(apic.may_elide_eoi());
}

TEST_CASE("IPIs reach the CPU that sends them by every destination that means it") {
    X2Apic apic;
    const auto sent = [&](std::uint64_t icr) {
        must_write(apic, kIcr, icr);
        CHECK(apic.read(kIcr, kStart) == icr);
        if (!apic.pending()) return false;
        CHECK(apic.acknowledge() == 0xfb);
        must_write(apic, kEoi, 0);
        return true;
    };
    CHECK(sent(0x00000000'000000fb));
    CHECK(sent(0xffffffff'000000fb));
    CHECK(sent(0x00000001'000008fb));
    CHECK(sent(0x00000005'000400fb));
    CHECK(sent(0x00000000'000800fb));
    CHECK_FALSE(sent(0x00000001'000000fb));
    CHECK_FALSE(sent(0x00000002'000008fb));
    CHECK_FALSE(sent(0x00010001'000008fb));
    CHECK_FALSE(sent(0x00000000'000c00fb));
    must_write(apic, kSelfIpi, 0xfb);
    CHECK(apic.acknowledge() == 0xfb);
    CHECK_FALSE(apic.take_nmi());
    must_write(apic, kIcr, 0x00000000'00000400);
    CHECK(apic.take_nmi());
    CHECK_FALSE(apic.take_nmi());
}

TEST_CASE("Illegal vectors are errors, shown after ESR is written") {
    X2Apic apic;
    must_write(apic, kLvtError, 0xfe);
    must_write(apic, kSelfIpi, 0x0f);
    CHECK_FALSE(apic.accept(0x0f));
    CHECK(apic.read(kEsr, kStart) == 0);
    must_write(apic, kEsr, 0);
    CHECK(apic.read(kEsr, kStart) == 0x60);
    must_write(apic, kEsr, 0);
    CHECK(apic.read(kEsr, kStart) == 0);
    CHECK(apic.acknowledge() == 0xfe);
}

TEST_CASE("Software-disabled, it masks its LVT, accepts nothing and keeps what it had") {
    X2Apic apic;
    CHECK(apic.accept(0x60));
    must_write(apic, kSvr, 0x0ff);
    CHECK_FALSE(apic.accepts_extint());
    CHECK_FALSE(apic.accept(0x70));
    CHECK(apic.pending() == 0x60);
    must_write(apic, kLvtLint0, 0x700);
    CHECK(apic.read(kLvtLint0, kStart) == 0x10700);
    must_write(apic, kSvr, 0x1ff);
    CHECK_FALSE(apic.accepts_extint());
    must_write(apic, kLvtLint0, 0x700);
    CHECK(apic.accepts_extint());
}

TEST_CASE("Reserved bits, read-only, write-only and missing registers raise #GP") {
    X2Apic apic;
    const auto before = apic.state();
    for (const std::uint32_t msr :
         {0x800U, 0x809U, 0x80bU, 0x80cU, 0x80eU, 0x82fU, 0x831U, 0x83aU, 0x83fU, 0x840U, 0x8ffU}) {
        CHECK_FALSE(apic.read(msr, kStart));
    }
    for (const std::uint32_t msr : {0x802U, 0x803U, 0x80aU, 0x80dU, 0x80eU, 0x810U, 0x818U, 0x827U,
                                    0x82fU, 0x831U, 0x839U, 0x840U}) {
        CHECK_FALSE(apic.write(msr, 0, kStart));
    }
    CHECK_FALSE(apic.write(kTpr, 0x100, kStart));
    CHECK_FALSE(apic.write(kEoi, 1, kStart));
    CHECK_FALSE(apic.write(kSvr, 0x1000, kStart));
    CHECK_FALSE(apic.write(kEsr, 1, kStart));
    CHECK_FALSE(apic.write(kIcr, 0x1000, kStart));
    CHECK_FALSE(apic.write(kIcr, 0x100000, kStart));
    CHECK_FALSE(apic.write(kLvtTimer, 0x40000, kStart));  // TSC deadline.
    CHECK_FALSE(apic.write(kLvtError, 0x100, kStart));
    CHECK_FALSE(apic.write(kDivide, 0x4, kStart));
    CHECK_FALSE(apic.write(kSelfIpi, 0x100, kStart));
    CHECK_FALSE(apic.write(kInitial, 0x1'0000'0000, kStart));
    CHECK(apic.state() == before);
}

TEST_CASE("A restored local APIC goes on as the first one does, whatever was done to it") {
    X2Apic apic;
    std::uint64_t seed = 1;
    GuestTime now = kStart;
    for (int step = 0; step < 40'000; ++step) {
        seed = seed * 6364136223846793005 + 1442695040888963407;
        now += nanoseconds(seed >> 50);
        const auto msr = static_cast<std::uint32_t>(0x800 + (seed >> 33) % 0x41);
        const std::uint64_t value = seed >> 12 & 0x300ff;
        (void)apic.write(msr, value, now);
        if (step % 64 == 0) must_write(apic, kSvr, 0x1ff, now);
        if (step % 3 == 0) apic.accept(static_cast<std::uint8_t>(seed >> 40));
        auto restored = X2Apic::from_state(apic.state());
        REQUIRE(restored);
        REQUIRE(restored->next_deadline() == apic.next_deadline());
        REQUIRE(restored->advance(now) == apic.advance(now));
        REQUIRE(restored->pending() == apic.pending());
        if (apic.pending()) REQUIRE(restored->acknowledge() == apic.acknowledge());
        REQUIRE(restored->read(msr, now) == apic.read(msr, now));
        REQUIRE(restored->state() == apic.state());
    }
}

TEST_CASE("A local APIC is not restored from nonsense") {
    const auto refused = [](auto change) {
        X2Apic::State state;
        change(state);
        return !X2Apic::from_state(state);
    };
    CHECK(refused([](auto& state) { state.svr = 0x1000; }));
    CHECK(refused([](auto& state) { state.svr = 0xff; }));  // Disabled with LINT0 unmasked.
    CHECK(refused([](auto& state) { state.irr[0] = 1; }));
    CHECK(refused([](auto& state) { state.isr[0] = 0x8000; }));
    CHECK(refused([](auto& state) { state.icr = 0x1000; }));
    CHECK(refused([](auto& state) { state.divide = 4; }));
    CHECK(refused([](auto& state) { state.lvt[0] = 0x40000; }));
    CHECK(refused([](auto& state) { state.errors = 1; }));
    CHECK(refused([](auto& state) { state.timer_runs = true; }));
    CHECK(refused([](auto& state) { state.period_start_ns = -1; }));
    CHECK(refused([](auto& state) { state.period_start_ns = INT64_MAX; }));
}

}  // namespace
}  // namespace ftvmm::dev
