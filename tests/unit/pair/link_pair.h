// A Primary's end and a Secondary's of one link, on their own threads, over the loopback.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "pair/beats.h"
#include "pair/meeting.h"
#include "pair/primary_link.h"
#include "pair/secondary_link.h"
#include "replay/log_format.h"
#include "replay/record_codec.h"
#include "two_hosts.h"

namespace ftvmm::pair {

using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using ftlink::GoodbyeReason;
using ftlink::testing::TwoHosts;
using replay::ClosedBatch;
using replay::Record;
using replay::Seq;

constexpr auto kPatience = 10s;
constexpr std::uint64_t kMemory = std::uint64_t{1} << 20U;
constexpr Seq kFirst(812);

// Looks now and then, and not again once it is so.
inline bool await(const std::function<bool()>& done) {
    std::mutex mutex;
    std::condition_variable never;
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!done()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::unique_lock lock(mutex);
        (void)never.wait_for(lock, 1ms);
    }
    return true;
}

// A log's records: packets of `bytes` that can not be packed.
inline std::vector<Record> records_of(std::uint64_t first, std::size_t count, std::size_t bytes) {
    std::vector<Record> records;
    for (std::uint64_t i = first; i < first + count; ++i) {
        replay::record::Packet packet{0, std::vector<std::byte>(bytes)};
        SeededEntropy(i).fill(packet.frame);
        records.push_back({{i, 0}, 0, packet});
    }
    return records;
}

inline ClosedBatch batch_of(std::uint64_t first, std::span<const Record> records) {
    replay::RecordEncoder encoder;
    for (const Record& record : records)
        (void)encoder.add(record);
    ClosedBatch batch;
    batch.first = Seq(first);
    batch.last = Seq(first + records.size() - 1);
    batch.bytes = replay::make_batch_to_pack(batch.first, records.size(), encoder.take());
    return batch;
}

inline ClosedBatch batch_of(std::uint64_t first, std::size_t count, std::size_t bytes) {
    return batch_of(first, records_of(first, count, bytes));
}

inline std::vector<ClosedBatch> alone(ClosedBatch batch) {
    std::vector<ClosedBatch> batches;
    batches.push_back(std::move(batch));
    return batches;
}

// How a pair's hosts are to hear of each other.
struct Hearing {
    BootClock::duration dead_after{};
    bool has_own_keys = false;  // The Primary's beats: nobody else's count.
};

// What one says of the other, from the thread of its link.
class Lines {
  public:
    void add(const std::string& line) {
        const std::lock_guard guard(mutex_);
        lines_ += line + "\n";
    }
    [[nodiscard]] std::string all() const {
        const std::lock_guard guard(mutex_);
        return lines_;
    }

  private:
    mutable std::mutex mutex_;
    std::string lines_;
};

struct Pair {
    TwoHosts hosts;
    Lines b_lines;
    GateHold gate{[] {}, {}};
    std::atomic<int> wakes{0};
    std::atomic<bool> stops{false};
    std::atomic<bool> a_gives_up{false};
    // As the Secondary tells its observers.
    std::atomic<std::uint64_t> told_received{0};
    std::atomic<std::uint64_t> told_replayed{0};
    IoLoop a_loop;
    IoLoop b_loop;
    std::optional<PrimaryLink> a;
    std::optional<SecondaryLink> b;
    Seq next_replayed = kFirst;

    explicit Pair(const ftlink::LinkLimits& limits = {}, const Hearing& hearing = {}) {
        using Met = tl::expected<ftlink::Greeted, ftlink::LinkLost>;
        std::promise<Met> promise;
        auto promised = promise.get_future();
        std::shared_ptr<ftlink::MeetingDriver> listens;
        a_loop.run([&] {
            listens =
                ftlink::MeetingDriver::start(a_loop.io(), hosts.of_primary(), [&](Met result) {
                    promise.set_value(std::move(result));
                }).value();
        });
        auto of_b = meet(b_loop, hosts.of_secondary(listens->port()), stops);
        REQUIRE(of_b);
        REQUIRE(promised.wait_for(kPatience) == std::future_status::ready);
        Met of_a = promised.get();
        REQUIRE(of_a);
        a_loop.run([&] { listens.reset(); });
        auto of_a_beats = beats_of(a_loop, *of_a, ftlink::testing::primary(), hearing);
        auto of_b_beats = beats_of(b_loop, *of_b, ftlink::testing::secondary(), hearing);
        a.emplace(
            a_loop, std::move(*of_a), limits, std::move(of_a_beats), hearing.dead_after, gate,
            [this] { ++wakes; }, [this] { return a_gives_up.load(); });
        machine::MachineConfig config;
        config.memory_bytes = kMemory;
        b.emplace(b_loop, std::move(*of_b), limits, std::move(of_b_beats), hearing.dead_after,
                  CloneTarget::create(config, "vm").value(), stops);
    }
    Pair(const Pair&) = delete;
    Pair& operator=(const Pair&) = delete;
    ~Pair() = default;

    std::unique_ptr<Beats> beats_of(IoLoop& loop, const ftlink::Greeted& greeted,
                                    const ftlink::Hello& mine, const Hearing& hearing) {
        const bool is_primary = mine.role == ftlink::LinkRole::kPrimary;
        BeatOptions options;
        options.vm = {7};
        options.dead_after = hearing.dead_after;
        options.real_time = false;
        options.log = [this, is_primary](const std::string& line) {
            if (!is_primary) b_lines.add(line);
        };
        if (!hearing.has_own_keys || !is_primary) {
            return start_beats(loop, greeted, mine, options).value();
        }
        auto udp = udp_options_of(greeted, mine, options).value();
        std::array<std::byte, heartbeat::BeatKey::kBytes> another{};
        SeededEntropy(1).fill(another);
        udp.keys.to_peer = heartbeat::BeatKey(another);
        return Beats::start(loop, std::move(udp), options).value();
    }
    // As two that may lose each other.
    void protect() {
        start();
        a->watch();
        REQUIRE(say(clone_message::Protected{Generation(1), {}}));
        REQUIRE(await([&] { return b->protected_in().has_value(); }));
    }
    [[nodiscard]] Result<void> say(const CloneMessage& message) {
        return a->send(make_frame(message));
    }
    // A clone of nothing goes over.
    void send_clone() {
        REQUIRE(say(clone_message::Begins{kMemory / kPageBytes}));
        REQUIRE(say(clone_message::Ends{0, 0, 0, kFirst}));
    }
    // And the machine stands: the log follows.
    void start() {
        b->on_progress([this](Seq received, Seq replayed) {
            told_received = received.value();
            told_replayed = replayed.value();
        });
        send_clone();
        a->start_log(kFirst);
        REQUIRE(b->take_clone([](const CloneTarget&) {}));
        b->follow(kFirst);
        const auto answer = a->next_clone_message(kPatience);
        REQUIRE(answer);
        REQUIRE(std::holds_alternative<clone_message::Stands>(*answer));
    }
    [[nodiscard]] bool has_received(std::uint64_t next) {
        return await([&] { return a->figures().next_received == Seq(next); });
    }
    // Takes and replays all before `next`, which has come or will: the records.
    std::vector<Record> replay_up_to(std::uint64_t next) {
        std::vector<Record> records;
        while (next_replayed < Seq(next)) {
            auto batch = b->queue().take();
            REQUIRE(batch);
            CHECK(batch->first == next_replayed);
            next_replayed = next_replayed + batch->records.size();
            std::ranges::move(batch->records, std::back_inserter(records));
            b->replayed(next_replayed, GuestTime(std::chrono::nanoseconds(next_replayed.value())));
        }
        return records;
    }
    [[nodiscard]] std::string why_a_is_lost() {
        return await([&] { return a->lost().has_value(); }) ? a->lost()->line() : "it is not lost";
    }
    [[nodiscard]] std::string why_b_is_lost() {
        return await([&] { return b->lost().has_value(); }) ? b->lost()->line() : "it is not lost";
    }
};

}  // namespace ftvmm::pair
