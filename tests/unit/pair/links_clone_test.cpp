// What is said over a pair's link before there is a log, and of the pair itself.
#include "link_pair.h"

namespace ftvmm::pair {

TEST_CASE("A Secondary is told of its protection once, behind the beginning of the log") {
    Pair pair;
    std::atomic<std::uint64_t> told{0};
    pair.b->on_protected([&](const clone_message::Protected& protection) {
        told = protection.generation.value();
        pair.b->answer_protection({});
    });
    pair.start();
    CHECK_FALSE(pair.b->protected_in());
    REQUIRE(pair.say(clone_message::Protected{Generation(7), {}}));
    REQUIRE(await([&] { return told == 7; }));
    const auto answer = pair.a->next_clone_message(kPatience);
    REQUIRE(answer);
    CHECK(std::holds_alternative<clone_message::Bids>(*answer));
    CHECK(pair.b->protected_in() == Generation(7));
    // It goes on as before.
    CHECK(await([&] { return pair.a->figures().next_received == kFirst; }));
    REQUIRE(pair.say(clone_message::Protected{Generation(8), {}}));
    CHECK_THAT(pair.why_b_is_lost(), Catch::Contains("goes on behind its end"));
    CHECK(pair.b->protected_in() == Generation(7));
}

TEST_CASE("A Secondary that can never take over says why, and that is its last word") {
    Pair pair;
    pair.b->on_protected([&](const clone_message::Protected&) {
        pair.b->answer_protection(fail("this is another storage"));
    });
    pair.start();
    REQUIRE(pair.say(clone_message::Protected{Generation(7), {}}));
    const auto answer = pair.a->next_clone_message(kPatience);
    REQUIRE(answer);
    const auto* failed = std::get_if<clone_message::Failed>(&*answer);
    REQUIRE(failed != nullptr);
    CHECK(failed->why == "this is another storage");
    CHECK_THAT(pair.why_a_is_lost(), Contains("connection"));
}

TEST_CASE("A machine that can not be made is told to the Primary with the reason") {
    Pair pair;
    pair.send_clone();
    REQUIRE(pair.b->take_clone([](const CloneTarget&) {}));
    // A log that nobody reads is no hindrance.
    pair.a->start_log(kFirst);
    pair.a->append(alone(batch_of(812, 1, 5'000'000)));
    std::thread secondary([&] { pair.b->fail_clone(Error("there is no KVM")); });
    const auto answer = pair.a->next_clone_message(kPatience);
    pair.a->close();
    secondary.join();
    REQUIRE(answer);
    const auto* failed = std::get_if<clone_message::Failed>(&*answer);
    REQUIRE(failed != nullptr);
    CHECK(failed->why == "there is no KVM");
    // It has seen the Primary close, and has not waited in vain.
    CHECK(pair.b->lost());
    CHECK_FALSE(pair.b->queue().take());
}

TEST_CASE("A Secondary that is stopped with a whole clone has said all there is to say") {
    Pair pair;
    pair.send_clone();
    REQUIRE(pair.b->take_clone([](const CloneTarget&) {}));
    pair.stops = true;
    // Nothing comes any more, so it has noticed.
    REQUIRE_FALSE(pair.b->queue().take());
    SECTION("its machine stands") {
        pair.b->follow(kFirst);
        pair.a->close();
    }
    SECTION("it can not be made") {
        std::thread secondary([&] { pair.b->fail_clone(Error("there is no KVM")); });
        pair.a->close();
        secondary.join();
        CHECK(pair.b->lost());
    }
    CHECK_FALSE(pair.a->next_clone_message(1ms));
}

TEST_CASE("A clone that does not fit loses the link, and nobody waits for it any more") {
    Pair pair;
    REQUIRE(pair.say(clone_message::Begins{1}));
    const auto taken = pair.b->take_clone([](const CloneTarget&) {});
    REQUIRE_FALSE(taken);
    CHECK_THAT(taken.error().line(), Contains("the guest has 1 pages of memory on the Primary"));
    CHECK_FALSE(pair.a->next_clone_message(kPatience));
    CHECK_THAT(pair.why_a_is_lost(), Contains("connection"));
}

TEST_CASE("A Secondary that says nothing of its clone is not waited for without an end") {
    Pair pair;
    pair.send_clone();
    const auto answer = pair.a->next_clone_message(1ms);
    REQUIRE_FALSE(answer);
    CHECK_THAT(answer.error().line(), Contains("does not say what became of its clone"));
    CHECK_FALSE(pair.a->lost());
}

TEST_CASE("A Secondary that is stopped waits for no clone") {
    Pair pair;
    pair.stops = true;
    const auto taken = pair.b->take_clone([](const CloneTarget&) {});
    REQUIRE_FALSE(taken);
}

TEST_CASE("Who waits for another host ends when told to, or with what it can not try") {
    TwoHosts hosts;
    IoLoop loop;
    const std::atomic<bool> stops{true};
    const auto met = meet(loop, hosts.of_primary(), stops);
    REQUIRE_FALSE(met);
    CHECK_THAT(met.error().line(), Contains("nobody waits for the other host any more"));
    ftlink::LinkOptions wrong = hosts.of_primary();
    wrong.address.ip = "host.example";
    const auto tried = meet(loop, wrong, stops);
    REQUIRE_FALSE(tried);
    CHECK_THAT(tried.error().line(), Contains("is no IP address"));
}

}  // namespace ftvmm::pair
