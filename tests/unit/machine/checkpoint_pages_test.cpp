#include "vmm/machine/checkpoint_pages.h"

#include <algorithm>
#include <deque>
#include <functional>

#include <catch2/catch.hpp>

#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"

namespace ftvmm::machine {
namespace {

constexpr std::uint64_t kBitsPerWord = 64;

// A log as KVM keeps it: a write to a page that is not in it is a fault.
class FakeLog final : public DirtyLog {
  public:
    explicit FakeLog(std::uint64_t pages) : bits_((pages + kBitsPerWord - 1) / kBitsPerWord) {}

    [[nodiscard]] Result<std::span<const std::uint64_t>> read() override { return bits_; }
    [[nodiscard]] Result<void> clear(std::span<const std::uint64_t> pages) override {
        for (std::size_t i = 0; i < bits_.size(); ++i)
            bits_[i] &= ~pages[i];
        return {};
    }
    void note(std::uint64_t page) {
        const std::uint64_t bit = std::uint64_t{1} << page % kBitsPerWord;
        if ((bits_[page / kBitsPerWord] & bit) == 0) ++faults;
        bits_[page / kBitsPerWord] |= bit;
    }

    std::size_t faults = 0;

  private:
    std::vector<std::uint64_t> bits_;
};

struct Write {
    std::uint64_t page = 0;
    std::size_t offset = 0;
    std::byte value{};
};

Checkpoint decode(std::span<const std::byte> bytes, std::uint64_t pages) {
    auto checkpoint = decode_checkpoint(bytes, pages);
    REQUIRE(checkpoint);
    return *std::move(checkpoint);
}

// A guest's memory on both sides.
class Pair {
  public:
    explicit Pair(std::uint64_t pages, std::size_t max_bytes = kMaxCheckpointBytes)
        : pages_(pages),
          machine_(pages * kPageBytes),
          follower_(machine_.size()),
          log_(pages),
          maker_(log_, machine_, costs_, max_bytes),
          loader_(follower_) {}

    // By the guest, on one side.
    void write(const Write& write) {
        log_.note(write.page);
        machine_.at(write.page * kPageBytes + write.offset) = write.value;
        unseen_.push_back(write);
    }
    void write(std::uint64_t page, int value) { write({page, 7, static_cast<std::byte>(value)}); }
    // The guest exits, and the follower makes the writes itself.
    void exit() {
        for (const Write& write : std::exchange(unseen_, {}))
            follower_.at(write.page * kPageBytes + write.offset) = write.value;
    }
    // By the VMM, at a landmark, on both sides.
    void write_as_vmm(const Write& write) {
        FTVMM_CHECK(unseen_.empty(), "the VMM writes at landmarks");
        for (auto* memory : {&machine_, &follower_})
            memory->at(write.page * kPageBytes + write.offset) = write.value;
    }
    std::vector<std::byte> take() {
        auto bytes = maker_.harvest(CpuState{});
        REQUIRE(bytes);
        unseen_.clear();
        return *std::move(bytes);
    }
    void load(std::span<const std::byte> bytes) {
        const auto checkpoint = decode(bytes, pages_);
        REQUIRE(loader_.check(checkpoint));
        loader_.load(checkpoint);
    }
    Checkpoint checkpoint() {
        last_ = take();
        load(last_);
        return decode(last_, pages_);
    }
    // As a machine that has just come to record.
    void begin_new_row() {
        maker_ = CheckpointMaker(log_, machine_, costs_);
        REQUIRE(maker_.settle());
    }

    [[nodiscard]] bool is_equal() const { return machine_ == follower_; }
    [[nodiscard]] std::uint64_t pages() const { return pages_; }
    std::vector<std::byte>& follower() { return follower_; }
    CheckpointMaker& maker() { return maker_; }
    CheckpointLoader& loader() { return loader_; }
    FakeLog& log() { return log_; }
    [[nodiscard]] const CheckpointCosts& costs() const { return costs_; }

  private:
    std::uint64_t pages_;
    std::vector<std::byte> machine_;
    std::vector<std::byte> follower_;
    std::vector<Write> unseen_;
    std::vector<std::byte> last_;
    FakeLog log_;
    CheckpointCosts costs_;
    CheckpointMaker maker_;
    CheckpointLoader loader_;
};

// A guest that writes here and there, half of the time to a few pages, and often what was there
// before.
class RandomGuest {
  public:
    RandomGuest(Pair& pair, std::uint64_t seed) : pair_(&pair), random_(seed) {}

    Write next_write() {
        const std::uint64_t few = std::min<std::uint64_t>(pair_->pages(), 5);
        const bool is_few = random_.below(2) == 0;
        return {random_.below(is_few ? few : pair_->pages()), random_.below(3) * 1000,
                static_cast<std::byte>(random_.below(2))};
    }
    // One stretch of its life; true where that ended with a checkpoint, which `load` loads.
    template <class Load>
    bool go_on(Load load) {
        for (std::uint64_t i = random_.below(6); i > 0; --i)
            pair_->write(next_write());
        if (random_.below(3) == 0) {
            load(pair_->take());
            return true;
        }
        pair_->exit();
        if (random_.below(3) == 0) REQUIRE(pair_->maker().settle());
        if (random_.below(40) == 0) pair_->begin_new_row();
        for (std::uint64_t i = random_.below(3); i > 0; --i)
            pair_->write_as_vmm(next_write());
        return false;
    }

  private:
    Pair* pair_;
    SeededEntropy random_;
};

TEST_CASE("At every landmark both memories are equal, whatever was written, settled and replayed") {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        // Few enough that a page is hot and cold again many times; not a multiple of 64.
        Pair pair(seed % 2 == 0 ? 9 : 150);
        RandomGuest guest(pair, seed);
        for (int step = 0; step < 1000; ++step) {
            guest.go_on([&](const auto& bytes) { pair.load(bytes); });
            INFO("seed " << seed << ", step " << step);
            REQUIRE(pair.is_equal());
        }
    }
}

TEST_CASE("The random guest shows a follower that does not rewrite hot pages without a change") {
    Pair pair(9);
    RandomGuest guest(pair, 1);
    bool is_equal = true;
    for (int step = 0; step < 1000 && is_equal; ++step) {
        guest.go_on([&](const auto& bytes) {
            auto before = pair.follower();
            pair.load(bytes);
            const auto checkpoint = decode(bytes, pair.pages());
            // Takes the rewriting back where the checkpoint does not name the page.
            for (std::uint64_t page = 0; page < pair.pages(); ++page) {
                const auto is_it = [&](const PageLines& lines) { return lines.page == page; };
                if (std::ranges::any_of(checkpoint.hot, is_it) ||
                    std::ranges::any_of(checkpoint.whole, is_it, &Checkpoint::WholePage::content)) {
                    continue;
                }
                std::copy_n(
                    before.begin() + static_cast<std::ptrdiff_t>(page * kPageBytes), kPageBytes,
                    pair.follower().begin() + static_cast<std::ptrdiff_t>(page * kPageBytes));
            }
        });
        is_equal = pair.is_equal();
    }
    CHECK(!is_equal);
}

TEST_CASE("A hot page that is again as it was is rewritten, because the replay has moved it") {
    Pair pair(4);
    for (int i = 1; i <= 2; ++i) {
        pair.write(2, i);
        pair.checkpoint();
    }
    CHECK(pair.maker().hot_pages() == 1);
    pair.write(2, 99);
    pair.exit();
    pair.write(2, 2);
    const auto checkpoint = pair.checkpoint();
    CHECK(checkpoint.hot.empty());
    CHECK(checkpoint.whole.empty());
    CHECK(pair.is_equal());
}

TEST_CASE(
    "A page written before two checkpoints in a row is hot: no more faults, and lines alone") {
    Pair pair(4);
    pair.write(1, 1);
    const auto first = pair.checkpoint();
    REQUIRE(first.whole.size() == 1);
    CHECK(!first.whole[0].becomes_hot);
    pair.write(1, 2);
    const auto second = pair.checkpoint();
    REQUIRE(second.whole.size() == 1);
    CHECK(second.whole[0].becomes_hot);
    const std::size_t faults = pair.log().faults;
    for (int i = 3; i < 10; ++i) {
        pair.write(1, i);
        const auto checkpoint = pair.checkpoint();
        CHECK(checkpoint.whole.empty());
        REQUIRE(checkpoint.hot.size() == 1);
        CHECK(checkpoint.hot[0].lines == 1);
    }
    CHECK(pair.log().faults == faults);
    CHECK(pair.is_equal());
}

TEST_CASE("What checkpoints and settles have cost is counted in pages") {
    Pair pair(200);
    for (int i = 1; i <= 3; ++i) {
        pair.write(1, i);
        pair.write(static_cast<std::uint64_t>(10 * i), i);
        pair.checkpoint();
    }
    const CheckpointCosts& costs = pair.costs();
    CHECK(costs.checkpoints == 3);
    CHECK(costs.whole_pages == 5);
    CHECK(costs.heated_pages == 1);
    CHECK(costs.cleared_pages == 4);
    CHECK(costs.hot_pages == 1);
    CHECK(costs.changed_pages == 1);
    CHECK(costs.changed_lines == 1);
    pair.write(7, 1);
    pair.write(8, 1);
    pair.exit();
    REQUIRE(pair.maker().settle());
    REQUIRE(pair.maker().settle());
    CHECK(costs.looks == 2);
    CHECK(costs.settles == 1);
    CHECK(costs.settled_pages == 2);
}

TEST_CASE("A page written before every second checkpoint stays cold") {
    Pair pair(4);
    for (int i = 0; i < 10; ++i) {
        pair.write(1 + static_cast<std::uint64_t>(i % 2), i);
        pair.checkpoint();
    }
    CHECK(pair.maker().hot_pages() == 0);
}

TEST_CASE("A hot page that has not changed for 16 checkpoints is cold again, on both sides") {
    Pair pair(4);
    for (int i = 1; i <= 2; ++i) {
        pair.write(1, i);
        pair.checkpoint();
    }
    pair.write(1, 50);
    pair.exit();
    pair.write(1, 2);
    for (unsigned i = 1; i < kColdAfter; ++i)
        CHECK(pair.checkpoint().hot.empty());
    CHECK(pair.maker().hot_pages() == 1);
    const auto last = pair.checkpoint();
    REQUIRE(last.hot.size() == 1);
    CHECK(last.hot[0].lines == 0);
    CHECK(pair.maker().hot_pages() == 0);
    // Written again, it is in the log again, and goes over whole.
    const std::size_t faults = pair.log().faults;
    pair.write(1, 3);
    CHECK(pair.log().faults == faults + 1);
    const auto again = pair.checkpoint();
    REQUIRE(again.whole.size() == 1);
    CHECK(!again.whole[0].becomes_hot);
    CHECK(pair.is_equal());
}

TEST_CASE("What was written before a settle does not go over, and a settle makes nothing hot") {
    Pair pair(200);
    for (std::uint64_t page = 0; page < 200; ++page)
        pair.write(page, 1);
    pair.exit();
    REQUIRE(pair.maker().settle());
    pair.write(5, 2);
    CHECK(pair.checkpoint().whole.size() == 1);
    for (int i = 0; i < 3; ++i) {
        pair.write(9, i);
        pair.exit();
        REQUIRE(pair.maker().settle());
    }
    pair.write(9, 7);
    const auto checkpoint = pair.checkpoint();
    REQUIRE(checkpoint.whole.size() == 1);
    CHECK(!checkpoint.whole[0].becomes_hot);
    CHECK(pair.is_equal());
}

TEST_CASE("What the VMM writes at landmarks is on both sides, on hot pages and on cold ones") {
    Pair pair(4);
    for (int i = 1; i <= 2; ++i) {
        pair.write(1, i);
        pair.checkpoint();
    }
    pair.write_as_vmm({1, 2000, std::byte{5}});
    pair.write_as_vmm({2, 2000, std::byte{5}});
    const auto checkpoint = pair.checkpoint();
    CHECK(checkpoint.whole.empty());
    REQUIRE(checkpoint.hot.size() == 1);
    CHECK(pair.is_equal());
}

TEST_CASE("More than a checkpoint takes is an error that changes nothing") {
    Pair pair(100, 20 * kPageBytes);
    const auto write_some = [&](std::uint64_t pages, int value) {
        for (std::uint64_t page = 0; page < pages; ++page) {
            for (std::size_t at = 0; at < kPageBytes; at += kLineBytes)
                pair.write({page, at, static_cast<std::byte>(value)});
        }
    };
    write_some(10, 1);
    pair.checkpoint();
    write_some(60, 2);
    const auto refused = pair.maker().harvest(CpuState{});
    REQUIRE(!refused);
    CHECK(refused.error().what().find("more memory than a checkpoint takes") != std::string::npos);
    pair.exit();
    REQUIRE(pair.maker().settle());
    CHECK(pair.checkpoint().number == 1);
    CHECK(pair.is_equal());
    write_some(10, 3);
    pair.checkpoint();
    CHECK(pair.is_equal());
}

TEST_CASE("No more pages are hot than have shadows, and the others go over whole") {
    Pair pair(kMaxHotPages + 10);
    for (int i = 1; i <= 4; ++i) {
        for (std::uint64_t page = 0; page < pair.pages(); ++page)
            pair.write(page, i);
        pair.checkpoint();
        CHECK(pair.is_equal());
    }
    CHECK(pair.maker().hot_pages() == kMaxHotPages);
}

TEST_CASE("A row of checkpoints that begins anew needs none of those before") {
    Pair pair(4);
    for (int i = 1; i <= 3; ++i) {
        pair.write(1, i);
        pair.checkpoint();
    }
    pair.exit();
    pair.begin_new_row();
    pair.write(1, 9);
    const auto bytes = pair.take();
    auto memory = pair.follower();
    CheckpointLoader fresh(memory);
    const auto checkpoint = decode(bytes, pair.pages());
    CHECK(checkpoint.number == 0);
    REQUIRE(checkpoint.whole.size() == 1);
    REQUIRE(fresh.check(checkpoint));
    fresh.load(checkpoint);
    pair.load(bytes);
    CHECK(pair.is_equal());
    CHECK(memory == pair.follower());
}

TEST_CASE("A checkpoint that does not go on from the one before is refused, and nothing changes") {
    Pair pair(4);
    pair.write(1, 1);
    const auto first = pair.take();
    pair.write(1, 2);
    const auto second = pair.take();
    pair.write(1, 3);
    const auto third = pair.take();
    const auto check = [&](const auto& bytes) {
        return pair.loader().check(decode(bytes, pair.pages()));
    };
    CHECK(!check(second));
    pair.load(first);
    const auto before = pair.follower();
    CHECK(!check(third));
    CHECK(pair.follower() == before);
    pair.load(second);
    pair.load(third);
    CHECK(!check(third));
    CHECK(pair.is_equal());
}

TEST_CASE("A checkpoint of hot pages that are none, or of all of one that is, is refused") {
    constexpr PageBytes kZeroes{};
    Pair pair(4);
    for (int i = 1; i <= 2; ++i) {
        pair.write(1, i);
        pair.checkpoint();
    }
    const auto check = [&](auto add) {
        CheckpointEncoder out(2, CpuState{});
        add(out);
        const auto bytes = out.take();
        return pair.loader().check(decode(bytes, pair.pages())).has_value();
    };
    CHECK(check([&](auto& out) {
        out.end_pages();
        out.add_hot(1, kZeroes, 1);
        out.end_pages();
    }));
    CHECK(!check([&](auto& out) {
        out.end_pages();
        out.add_hot(2, kZeroes, 1);
        out.end_pages();
    }));
    CHECK(!check([&](auto& out) {
        out.add_whole(1, kZeroes, false);
        out.end_pages();
        out.end_pages();
    }));
}

TEST_CASE("How long the vCPU stands still for 300 cold pages and 120 hot ones", "[.benchmark]") {
    constexpr std::uint64_t kHot = 120;
    constexpr std::uint64_t kCold = 300;
    Pair pair(std::uint64_t{1} << 18U);  // 1 GiB.
    SeededEntropy random(1);
    SystemClock clock;
    const auto write_hot = [&] {
        for (std::uint64_t page = 0; page < kHot; ++page)
            pair.write({page * 100, random.below(kPageBytes), std::byte(random.below(256))});
    };
    for (int i = 0; i < 3; ++i) {
        write_hot();
        pair.checkpoint();
    }
    REQUIRE(pair.maker().hot_pages() == kHot);
    std::vector<double> harvests;
    std::vector<double> loads;
    std::size_t bytes = 0;
    for (std::uint64_t round = 0; round < 100; ++round) {
        write_hot();
        for (std::uint64_t i = 0; i < kCold; ++i) {
            const std::uint64_t page = 20000 + round * 2000 + i * 3;
            for (std::size_t at = 0; at < kPageBytes; at += 64)
                pair.write({page, at, std::byte(random.below(256))});
        }
        const auto us = [&](auto function) {
            const Instant start = clock.now();
            function();
            return std::chrono::duration<double, std::micro>(clock.now() - start).count();
        };
        std::vector<std::byte> taken;
        harvests.push_back(us([&] { taken = pair.take(); }));
        loads.push_back(us([&] { pair.load(taken); }));
        bytes = taken.size();
    }
    CHECK(pair.is_equal());
    std::ranges::sort(harvests);
    std::ranges::sort(loads);
    WARN("harvest " << harvests[50] << " us (median of 100), load " << loads[50] << " us, " << bytes
                    << " bytes");
}

}  // namespace
}  // namespace ftvmm::machine
