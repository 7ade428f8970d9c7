// When batches are closed, and how the guest is slowed down.
#include "ftlink/flow_control.h"

#include "support.h"

namespace ftvmm::ftlink::testing {

TEST_CASE("Records without an output wait for others, but not for long") {
    FlushPolicy policy;
    CHECK(!policy.is_due(at_ms(100)));
    policy.recorded(at_ms(100));
    CHECK(!policy.is_due(at_ms(101)));
    policy.recorded(at_ms(101));
    CHECK(policy.is_due(at_ms(102)));
    policy.flushed();
    CHECK(!policy.is_due(at_ms(200)));
}

TEST_CASE("An output makes its records leave at once") {
    FlushPolicy policy;
    policy.marked_output(at_ms(100));
    CHECK(policy.is_due(at_ms(100)));
    policy.flushed();
    policy.recorded(at_ms(100));
    CHECK(!policy.is_due(at_ms(100)));
}

TEST_CASE("A guest that halts has time to send what it has, if it has anything") {
    FlushPolicy policy;
    policy.halted();
    CHECK(!policy.is_due(at_ms(100)));
    policy.recorded(at_ms(100));
    CHECK(policy.is_due(at_ms(100)));
}

TEST_CASE("A lag of more than a second slows the guest down in small steps, to a bound") {
    Throttle throttle;
    throttle.observe(std::chrono::milliseconds(1000), at_ms(1000));
    CHECK(!throttle.is_throttled());
    throttle.observe(std::chrono::milliseconds(1001), at_ms(1000));
    CHECK(throttle.duty_percent() == 95);
    throttle.observe(std::chrono::milliseconds(1001), at_ms(1099));
    CHECK(throttle.duty_percent() == 95);
    throttle.observe(std::chrono::milliseconds(1001), at_ms(1100));
    CHECK(throttle.duty_percent() == 90);
    for (int i = 0; i < 100; ++i)
        throttle.observe(std::chrono::seconds(5), at_ms(2000 + 100 * i));
    CHECK(throttle.duty_percent() == 10);
}

TEST_CASE("A guest gets its time back in small steps while the lag is small, and not in between") {
    Throttle throttle;
    for (int i = 0; i < 4; ++i)
        throttle.observe(std::chrono::seconds(2), at_ms(1000 + 100 * i));
    REQUIRE(throttle.duty_percent() == 80);
    throttle.observe(std::chrono::milliseconds(100), at_ms(5000));
    CHECK(throttle.duty_percent() == 80);
    for (int i = 0; i < 10; ++i)
        throttle.observe(std::chrono::milliseconds(99), at_ms(6000 + 100 * i));
    CHECK(!throttle.is_throttled());
}

}  // namespace ftvmm::ftlink::testing
