// Outputs of a guest that is followed wait for whoever follows.
#include "node/output_hold.h"

#include <deque>
#include <mutex>

#include "fixture.h"
#include "node/batch_sink.h"
#include "node/recording.h"
#include "toy_machine.h"

namespace ftvmm::node {
namespace {

using replay::Input;
using replay::Seq;
using replay::Stop;

// Lets go what somebody else says is safe, from any thread.
class TestHold final : public OutputHold {
  public:
    explicit TestHold(Waker& waker, std::size_t most = SIZE_MAX) : waker_(waker), most_(most) {}

    void hold(std::optional<Seq> mark, replay::Output&& output) override {
        const std::lock_guard guard(mutex_);
        held_.emplace_back(mark.value_or(Seq(0)),
                           std::make_unique<replay::Output>(std::move(output)));
        ++count_;
    }
    [[nodiscard]] std::optional<replay::Output> take_free() override {
        const std::lock_guard guard(mutex_);
        if (held_.empty() || held_.front().first >= safe_) return std::nullopt;
        const auto output = std::move(held_.front().second);
        held_.pop_front();
        return std::move(*output);
    }
    [[nodiscard]] bool is_full() const override {
        const std::lock_guard guard(mutex_);
        return held_.size() >= most_;
    }
    [[nodiscard]] bool is_empty() const override {
        const std::lock_guard guard(mutex_);
        return held_.empty();
    }

    void all_is_safe_before(Seq next) {
        {
            const std::lock_guard guard(mutex_);
            safe_ = std::max(safe_, next);
        }
        waker_.wake();
    }
    [[nodiscard]] std::size_t count() const {
        const std::lock_guard guard(mutex_);
        return count_;
    }

  private:
    Waker& waker_;
    std::size_t most_;
    mutable std::mutex mutex_;
    Seq safe_;
    std::size_t count_ = 0;
    std::deque<std::pair<Seq, std::unique_ptr<replay::Output>>> held_;
};

// Keeps what number comes next: everything before it was handed on.
class TestSink final : public BatchSink {
  public:
    void append(std::vector<replay::ClosedBatch> batches) override {
        const std::lock_guard guard(mutex_);
        for (const auto& batch : batches)
            next_ = Seq(batch.last.value() + 1);
    }
    [[nodiscard]] Seq next() const {
        const std::lock_guard guard(mutex_);
        return next_;
    }

  private:
    mutable std::mutex mutex_;
    Seq next_;
};

// A guest whose outputs are recorded and held, on a host with one card.
struct Followed {
    explicit Followed(IoOptions options, std::size_t most_held = SIZE_MAX)
        : host(std::move(options)),
          hold(host.control.waker(), most_held),
          recording(sink, {}, Follower{}) {
        host.vcpu->record(&recording, &hold);
    }

    Host host;
    TestSink sink;
    TestHold hold;
    Recording recording;
};

IoOptions options_of(Wire& wire) {
    IoOptions options;
    options.taps.push_back(std::move(wire.tap));
    return options;
}

replay::Output frame_of(const std::string& text) {
    return replay::output::Packet{0, bytes_of(text)};
}

TEST_CASE("A frame leaves when its mark is safe and not before, while the guest goes on") {
    Wire wire = make_wire();
    Followed followed(options_of(wire));
    int exits = 0;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            ++exits;
            if (exits == 1) self.outputs.push_back(frame_of("first"));
            if (exits == 2) self.outputs.push_back(frame_of("second"));
            if (exits < 100) return replay::stop::Exit{};
            // It has been handed on long ago, as far as the second frame's mark at least.
            if (exits == 100) {
                CHECK(receive_frame(wire.far, 0).empty());
                CHECK(followed.sink.next() >= Seq(2));
                followed.hold.all_is_safe_before(Seq(1));
                return replay::stop::Exit{};
            }
            if (exits == 101) {
                CHECK(receive_frame(wire.far) == "first");
                CHECK(receive_frame(wire.far, 0).empty());
                followed.hold.all_is_safe_before(followed.sink.next());
                return replay::stop::Exit{};
            }
            CHECK(receive_frame(wire.far) == "second");
            return replay::stop::PoweredOff{};
        },
        [](ToyGuest&, const Input&) {});
    (void)followed.host.run(guest);
    CHECK(followed.hold.is_empty());
}

TEST_CASE("A frame is let out while the guest computes without an exit") {
    Wire wire = make_wire();
    Followed followed(options_of(wire));
    std::thread other([&] {
        while (followed.sink.next() == Seq(0))
            (void)::poll(nullptr, 0, 1);
        followed.hold.all_is_safe_before(followed.sink.next());
        if (receive_frame(wire.far) == "out") followed.host.control.stop();
    });
    bool is_out = false;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            if (is_out) return self.compute();
            is_out = true;
            self.outputs.push_back(frame_of("out"));
            return replay::stop::Exit{};
        },
        [](ToyGuest&, const Input&) {});
    CHECK(std::holds_alternative<end::Stopped>(followed.host.run(guest)));
    other.join();
}

TEST_CASE("A guest whose outputs can not leave stands still once there are many, and goes on") {
    constexpr std::size_t kMost = 8;
    Wire wire = make_wire();
    Followed followed(options_of(wire), kMost);
    std::size_t most_held = 0;
    std::thread other([&] {
        while (followed.hold.count() < kMost)
            (void)::poll(nullptr, 0, 1);
        (void)::poll(nullptr, 0, 20);
        most_held = followed.hold.count();
        for (std::size_t i = 0; i < 100; ++i) {
            while (receive_frame(wire.far, 1).empty())
                followed.hold.all_is_safe_before(followed.sink.next());
        }
    });
    std::size_t sent = 0;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            if (sent == 100) return replay::stop::PoweredOff{};
            ++sent;
            self.outputs.push_back(frame_of("x"));
            return replay::stop::Exit{};
        },
        [](ToyGuest&, const Input&) {});
    (void)followed.host.run(guest);
    other.join();
    CHECK(most_held == kMost);
}

TEST_CASE("What a guest has put out before its end leaves all the same") {
    Wire wire = make_wire();
    Followed followed(options_of(wire));
    std::thread other([&] {
        while (followed.hold.count() == 0 || followed.sink.next() == Seq(0))
            (void)::poll(nullptr, 0, 1);
        followed.hold.all_is_safe_before(followed.sink.next());
    });
    ToyGuest guest(
        [](ToyGuest& self) -> Stop {
            self.outputs.push_back(frame_of("last words"));
            return replay::stop::PoweredOff{};
        },
        [](ToyGuest&, const Input&) {});
    (void)followed.host.run(guest);
    other.join();
    CHECK(receive_frame(wire.far, 0) == "last words");
}

TEST_CASE("Outputs of a guest that nobody records wait too, where somebody holds them") {
    Wire wire = make_wire();
    Followed followed(options_of(wire));
    followed.host.vcpu->record(nullptr, &followed.hold);
    int exits = 0;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            ++exits;
            if (exits == 1) self.outputs.push_back(frame_of("alone"));
            if (exits < 10) return replay::stop::Exit{};
            if (exits == 10) {
                CHECK(receive_frame(wire.far, 0).empty());
                followed.hold.all_is_safe_before(Seq(1));
                return replay::stop::Exit{};
            }
            CHECK(receive_frame(wire.far) == "alone");
            return replay::stop::PoweredOff{};
        },
        [](ToyGuest&, const Input&) {});
    (void)followed.host.run(guest);
    CHECK(followed.sink.next() == Seq(0));
}

TEST_CASE("What is put out again leaves before what the guest says next, and waits as that does") {
    Wire wire = make_wire();
    Followed followed(options_of(wire));
    followed.host.vcpu->record(nullptr, &followed.hold);
    std::vector<replay::Output> before;
    before.push_back(frame_of("before"));
    followed.host.vcpu->put_out_again(std::move(before));
    CHECK(followed.hold.count() == 1);
    CHECK(receive_frame(wire.far, 0).empty());
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            self.outputs.push_back(frame_of("after"));
            followed.hold.all_is_safe_before(Seq(1));
            return replay::stop::PoweredOff{};
        },
        [](ToyGuest&, const Input&) {});
    (void)followed.host.run(guest);
    CHECK(receive_frame(wire.far) == "before");
    CHECK(receive_frame(wire.far) == "after");
}

TEST_CASE("What was printed waits for the right to it, and without that is never seen") {
    const bool comes = GENERATE(true, false);
    TestRight right;
    right.set(false);
    const auto printed = std::make_shared<Printed>();
    IoOptions options;
    options.right = &right;
    options.consoles.push_back(
        {replay::ConsolePort::kSerial, std::make_unique<PrintedConsole>(printed)});
    {
        Host host(std::move(options));
        REQUIRE(host.io->try_print({bytes_of("one\n"), replay::ConsolePort::kSerial}));
        REQUIRE(host.io->try_print({bytes_of("two\n"), replay::ConsolePort::kSerial}));
        // Long enough for a thread that does not ask.
        (void)::poll(nullptr, 0, 50);
        CHECK(printed->text().empty());
        right.set(comes);
        for (int i = 0; i < 3000 && comes && printed->text().size() < 8; ++i)
            (void)::poll(nullptr, 0, 10);
    }
    CHECK(printed->text() == (comes ? "one\ntwo\n" : ""));
}

}  // namespace
}  // namespace ftvmm::node
