// A log over a pair's link: what the Primary records is what the Secondary gets, to the link's end.
#include "link_pair.h"

namespace ftvmm::pair {

TEST_CASE("What was recorded comes in order and whole, and is acked as received and as replayed") {
    Pair pair;
    pair.start();
    std::vector<ClosedBatch> batches;
    batches.push_back(batch_of(812, 1, 60));
    batches.push_back(batch_of(813, 40, 1400));
    pair.a->append(std::move(batches));
    pair.a->append(alone(batch_of(853, 1, 3'000'000)));
    REQUIRE(pair.has_received(854));
    // Nothing was replayed yet.
    CHECK(pair.a->figures().next_replayed == kFirst);
    CHECK(await([&] { return pair.a->figures().lag > 0ns; }));
    CHECK(await([&] { return pair.told_received == 854; }));
    CHECK(pair.told_replayed == 812);
    const auto records = pair.replay_up_to(854);
    auto recorded = records_of(812, 1, 60);
    std::ranges::move(records_of(813, 40, 1400), std::back_inserter(recorded));
    std::ranges::move(records_of(853, 1, 3'000'000), std::back_inserter(recorded));
    CHECK(records == recorded);
    REQUIRE(await([&] { return pair.a->figures().next_replayed == Seq(854); }));
    CHECK(await([&] { return pair.told_replayed == 854; }));
    CHECK(pair.a->figures().queued_bytes == 0);
    CHECK(pair.a->figures().log_bytes > 3'000'000);
    CHECK_FALSE(pair.a->lost());
    CHECK_FALSE(pair.b->lost());
}

TEST_CASE("What is recorded while the clone is on its way is where the log begins") {
    Pair pair;
    pair.a->append(alone(batch_of(812, 5, 60)));
    pair.start();
    pair.a->append(alone(batch_of(817, 2, 60)));
    CHECK(pair.replay_up_to(819) == records_of(812, 7, 60));
}

TEST_CASE("An idle link answers its probes, so that outputs leave, and leave still later") {
    Pair pair;
    pair.start();
    pair.gate.pair(kFirst);
    const auto leaves = [&] { return pair.gate.take_free().has_value(); };
    pair.gate.hold(Seq(811), replay::output::Packet{0, {}});
    CHECK(await(leaves));
    // What was answered until now is worth nothing behind this.
    const SystemClock clock;
    const Instant end = clock.now() + ftlink::ReleaseLeases{}.peer;
    REQUIRE(await([&] { return clock.now() > end; }));
    pair.gate.hold(Seq(811), replay::output::Packet{0, {}});
    CHECK(await(leaves));
}

TEST_CASE("An output leaves once the Secondary has its mark, before it is replayed") {
    Pair pair;
    pair.start();
    pair.gate.pair(kFirst);
    pair.gate.hold(kFirst, replay::output::Packet{0, {}});
    REQUIRE(await([&] { return pair.a->figures().log_bytes > 0; }));
    CHECK_FALSE(pair.gate.take_free());
    pair.a->append(alone(batch_of(812, 1, 60)));
    CHECK(await([&] { return pair.gate.take_free().has_value(); }));
    CHECK(pair.a->figures().next_replayed == kFirst);
}

TEST_CASE("A vCPU stands still while too much waits, and goes on when there is room") {
    ftlink::LinkLimits limits;
    limits.unreplayed_bytes = 100'000;
    limits.queued_bytes = 200'000;
    Pair pair(limits);
    pair.start();
    std::atomic<bool> has_appended{false};
    std::thread vcpu([&] {
        for (std::uint64_t next = 812; next < 1212; ++next)
            pair.a->append(alone(batch_of(next, 1, 3000)));
        has_appended = true;
    });
    // The Secondary replays nothing: no more is sent than it has room for, and nothing is dropped.
    CHECK(await([&] { return pair.a->figures().queued_bytes >= limits.queued_bytes; }));
    CHECK_FALSE(has_appended);
    CHECK(pair.a->figures().next_received <= kFirst + limits.unreplayed_bytes / 3000 + 1);
    CHECK(pair.replay_up_to(1212) == records_of(812, 400, 3000));
    CHECK(await([&] { return has_appended.load(); }));
    pair.a->close();
    vcpu.join();
}

TEST_CASE("A Primary that hands over is heard behind all it recorded, and then both are done") {
    Pair pair;
    pair.start();
    pair.a->append(alone(batch_of(812, 10, 1000)));
    pair.a->say_goodbye(GoodbyeReason::kHandsOver, kPatience);
    REQUIRE(await([&] { return pair.b->goodbye().has_value(); }));
    CHECK(pair.b->goodbye() == GoodbyeReason::kHandsOver);
    CHECK(pair.has_received(822));
    pair.a->close();
    CHECK(pair.replay_up_to(822).size() == 10);
    CHECK_FALSE(pair.b->queue().take());
    CHECK_THAT(pair.why_b_is_lost(), Contains("closed the connection"));
}

TEST_CASE("A Secondary that leaves says so, whatever is on its way to it") {
    Pair pair;
    pair.start();
    for (std::uint64_t next = 812; next < 912; ++next)
        pair.a->append(alone(batch_of(next, 1, 60)));
    SECTION("because its guest has ended") {
        std::thread vcpu([&] { pair.b->leave(); });
        CHECK(await([&] { return pair.a->figures().has_left; }));
        pair.a->close();
        vcpu.join();
    }
    SECTION("because it was stopped") {
        pair.stops = true;
        CHECK(await([&] { return pair.a->figures().has_left; }));
        // Who follows comes to the end of what there is, though the link is up still.
        while (pair.b->queue().take()) {
        }
    }
    CHECK_FALSE(pair.a->figures().has_diverged);
}

TEST_CASE("A Primary that ends without a goodbye is lost, and what came before counts") {
    Pair pair;
    pair.start();
    pair.a->append(alone(batch_of(812, 3, 60)));
    REQUIRE(pair.has_received(815));
    pair.a.reset();
    CHECK_THAT(pair.why_b_is_lost(), Contains("closed the connection"));
    CHECK_FALSE(pair.b->goodbye());
    CHECK(pair.replay_up_to(815).size() == 3);
    CHECK_FALSE(pair.b->queue().take());
}

TEST_CASE("A Secondary that ends lets go of a vCPU that waits for it, and wakes who decides") {
    ftlink::LinkLimits limits;
    limits.unreplayed_bytes = 10'000;
    limits.queued_bytes = 20'000;
    Pair pair(limits);
    pair.start();
    std::thread vcpu([&] {
        for (std::uint64_t next = 812; next < 912; ++next)
            pair.a->append(alone(batch_of(next, 1, 3000)));
    });
    CHECK(await([&] { return pair.a->figures().queued_bytes >= limits.queued_bytes; }));
    const int before = pair.wakes;
    pair.b.reset();
    vcpu.join();
    CHECK_THAT(pair.why_a_is_lost(), Contains("connection"));
    CHECK(await([&] { return pair.wakes > before; }));
    CHECK_FALSE(pair.say(clone_message::Begins{}));
}

TEST_CASE("A VM whose power ends waits no longer for a Secondary that takes nothing") {
    Pair pair;
    pair.start();
    // It reads nothing until the end, which outlives the loop that waits for it.
    auto end = std::make_shared<std::promise<void>>();
    pair.b_loop.post([ended = end->get_future().share()] { ended.wait(); });
    std::atomic<bool> has_ended{false};
    std::atomic<std::uint64_t> next{812};
    std::thread vcpu([&] {
        for (; !pair.a->lost(); ++next)
            pair.a->append(alone(batch_of(next, 1, 4'000'000)));
        has_ended = true;
    });
    REQUIRE(await([&] { return next > 814; }));
    CHECK_FALSE(has_ended);
    // At the latest when the kernel's buffers and the queue are full.
    pair.a_gives_up = true;
    CHECK(await([&] { return has_ended.load(); }));
    vcpu.join();
    CHECK_THAT(pair.a->lost()->line(), Contains("power ended"));
    end->set_value();
}

TEST_CASE("Divergence is told to the Primary at once") {
    Pair pair;
    pair.start();
    std::thread vcpu([&] { pair.b->diverged(); });
    CHECK(await([&] { return pair.a->figures().has_diverged; }));
    pair.a->close();
    vcpu.join();
}

TEST_CASE("A peer that does not keep to the protocol loses the link, and the reason names it") {
    Pair pair;
    pair.start();
    // Record 813 in place of 812, past what the sender itself would let through: a batch that says
    // so.
    ClosedBatch batch = batch_of(813, 1, 60);
    batch.first = batch.last = kFirst;
    pair.a->append(alone(std::move(batch)));
    CHECK_THAT(pair.why_b_is_lost(),
               Contains("from the Primary: a batch begins with record 813, and 812 is the next"));
    CHECK_FALSE(pair.b->queue().take());
    CHECK_THAT(pair.why_a_is_lost(), Contains("connection"));
    // Who goes on recording is not held up by it.
    for (std::uint64_t next = 813; next < 817; ++next)
        pair.a->append(alone(batch_of(next, 1, 10'000'000)));
}

}  // namespace ftvmm::pair
