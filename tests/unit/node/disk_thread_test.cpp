#include "node/disk_thread.h"

#include <cerrno>
#include <map>

#include "fixture.h"
#include "vmm/host/event_fd.h"

namespace ftvmm::node {
namespace {

using replay::Input;
using replay::Stop;
using replay::output::DiskOperation;

// An engine that ends a request when the test says so. Any thread.
class GatedEngine final : public host::DiskEngine {
  public:
    [[nodiscard]] bool try_submit(host::DiskRequest&& request) override {
        const std::lock_guard guard(mutex_);
        if (flying_.size() == kMaxInFlight) return false;
        flying_.emplace(request.id.value(), std::move(request));
        most_ = std::max(most_, flying_.size());
        return true;
    }
    [[nodiscard]] std::vector<host::DiskCompletion> take_completions() override {
        const std::lock_guard guard(mutex_);
        ready_.drain();
        return std::exchange(done_, {});
    }
    [[nodiscard]] int ready_fd() const override { return ready_.get(); }
    [[nodiscard]] const char* kind() const override { return "gated"; }

    // Those under way, once there are `count` of them.
    std::vector<std::uint64_t> wait_for(std::size_t count) {
        for (int i = 0; i < 10000; ++i) {
            {
                const std::lock_guard guard(mutex_);
                if (flying_.size() >= count) {
                    std::vector<std::uint64_t> ids;
                    for (const auto& [id, request] : flying_)
                        ids.push_back(id);
                    return ids;
                }
            }
            (void)::poll(nullptr, 0, 1);
        }
        return {};
    }
    void finish(std::uint64_t id, int error_number = 0) {
        const std::lock_guard guard(mutex_);
        auto entry = flying_.extract(id);
        done_.push_back({entry.mapped().id, error_number, std::move(entry.mapped().buffer)});
        ready_.signal();
    }
    [[nodiscard]] std::size_t most() const {
        const std::lock_guard guard(mutex_);
        return most_;
    }

  private:
    mutable std::mutex mutex_;
    std::map<std::uint64_t, host::DiskRequest> flying_;
    std::vector<host::DiskCompletion> done_;
    std::size_t most_ = 0;
    host::EventFd ready_ = *host::EventFd::create();
};

std::vector<NodeDisk> one_disk(std::unique_ptr<host::DiskEngine> engine) {
    std::vector<NodeDisk> disks;
    disks.push_back(NodeDisk{"vda", std::move(engine)});
    return disks;
}

replay::output::DiskRequest request(std::uint64_t id, DiskOperation operation, std::uint64_t offset,
                                    std::uint64_t length) {
    replay::output::DiskRequest asked{0, id, operation, offset, length, {}, {}};
    if (operation == DiskOperation::kWrite) {
        asked.data = SharedBytes::copy_of(std::vector(length, std::byte(id)));
    }
    return asked;
}

TEST_CASE("Requests that race reach the engine one after the other, all others at once") {
    auto owned = std::make_unique<GatedEngine>();
    GatedEngine& engine = *owned;
    Host host({}, one_disk(std::move(owned)));
    host.disks->submit(request(1, DiskOperation::kWrite, 0, 1024));
    host.disks->submit(request(2, DiskOperation::kWrite, 512, 512));
    host.disks->submit(request(3, DiskOperation::kRead, 4096, 512));
    host.disks->submit(request(4, DiskOperation::kFlush, 0, 0));
    CHECK(engine.wait_for(3) == std::vector<std::uint64_t>{1, 3, 4});
    engine.finish(1);
    engine.finish(3);
    engine.finish(4);
    CHECK(engine.wait_for(1) == std::vector<std::uint64_t>{2});
    engine.finish(2);
}

TEST_CASE("Data that stays in the guest's memory counts for none of the process's") {
    auto owned = std::make_unique<GatedEngine>();
    GatedEngine& engine = *owned;
    Host host({}, one_disk(std::move(owned)));
    constexpr std::uint64_t kLength = DiskThread::kMaxBytes;
    const auto memory = std::make_shared<std::vector<std::byte>>(kLength);
    const MemoryPieces place{{std::span(*memory)}, memory};
    for (std::uint64_t id = 0; id < 3; ++id) {
        auto asked = request(id, DiskOperation::kRead, id * kLength, kLength);
        asked.place = place;
        REQUIRE(host.disks->has_room_for(asked));
        host.disks->submit(std::move(asked));
    }
    REQUIRE(engine.wait_for(3).size() == 3);
    engine.finish(1);
    std::optional<DiskDone> done;
    while (!(done = host.disks->take()))
        (void)::poll(nullptr, 0, 1);
    CHECK(done->ok);
    CHECK(done->length == 0);
    CHECK(done->weight == 0);
    const auto view = std::get<replay::input::DiskCompletion>(view_of(std::move(*done)));
    CHECK(view.data.empty());
    engine.finish(0);
    engine.finish(2);
}

TEST_CASE("A host that may not act for the VM changes no disk, and does so once it may again") {
    auto owned = std::make_unique<GatedEngine>();
    GatedEngine& engine = *owned;
    TestRight right;
    Host host({}, one_disk(std::move(owned)), &right);
    host.disks->submit(request(1, DiskOperation::kWrite, 0, 1024));
    host.disks->submit(request(2, DiskOperation::kWrite, 512, 512));
    CHECK(engine.wait_for(1) == std::vector<std::uint64_t>{1});
    // What only looks is done; what waited for another request when the right ended waits on.
    right.set(false);
    host.disks->submit(request(3, DiskOperation::kRead, 4096, 512));
    CHECK(engine.wait_for(2) == std::vector<std::uint64_t>{1, 3});
    engine.finish(1);
    engine.finish(3);
    (void)::poll(nullptr, 0, 50);
    CHECK(engine.wait_for(0).empty());
    right.set(true);
    CHECK(engine.wait_for(1) == std::vector<std::uint64_t>{2});
    engine.finish(2);
}

TEST_CASE("A guest that asks for more than the disks take waits, and is answered in the end") {
    auto owned = std::make_unique<GatedEngine>();
    GatedEngine& engine = *owned;
    Host host({}, one_disk(std::move(owned)));
    constexpr int kRequests = 2000;
    int ends = 0;
    int runs = 0;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            if (++runs > 1) return replay::stop::Halted{};
            for (std::uint64_t id = 0; id < kRequests; ++id)
                self.outputs.emplace_back(request(id, DiskOperation::kRead, id * 512, 512));
            return replay::stop::Exit{};
        },
        [&](ToyGuest&, const Input& input) {
            const auto& done = std::get<replay::input::DiskCompletion>(input);
            if (done.ok && done.data.size() == 512) ++ends;
            // As long as requests are kept, the guest does not run.
            if (ends < kRequests - 512) REQUIRE(runs == 1);
            if (ends == kRequests) host.control.stop();
        });
    std::atomic<bool> over{false};
    std::thread storage([&] {
        while (!over) {
            for (const std::uint64_t id : engine.wait_for(0))
                engine.finish(id);
            (void)::poll(nullptr, 0, 1);
        }
    });
    (void)host.run(guest);
    over = true;
    storage.join();
    CHECK(ends == kRequests);
    CHECK(engine.most() <= host::DiskEngine::kMaxInFlight);
}

TEST_CASE("A request that fails is told to the guest each time, and to people once") {
    auto owned = std::make_unique<GatedEngine>();
    GatedEngine& engine = *owned;
    Host host({}, one_disk(std::move(owned)));
    int failures = 0;
    int runs = 0;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            if (++runs > 1) return replay::stop::Halted{};
            for (std::uint64_t id = 0; id < 3; ++id)
                self.outputs.emplace_back(request(id, DiskOperation::kWrite, id * 512, 512));
            return replay::stop::Halted{};
        },
        [&](ToyGuest&, const Input& input) {
            if (!std::get<replay::input::DiskCompletion>(input).ok) ++failures;
            if (failures == 3) host.control.stop();
        });
    std::thread storage([&] {
        for (const std::uint64_t id : engine.wait_for(3))
            engine.finish(id, ENOSPC);
    });
    (void)host.run(guest);
    storage.join();
    CHECK(failures == 3);
    CHECK_THAT(host.logged.text(), Catch::Contains("disk vda: write of 512 bytes at ") &&
                                       Catch::Contains("No space left on device"));
    const std::string text = host.logged.text();
    CHECK(text.find("No space") == text.rfind("No space"));
}

TEST_CASE("A guest that starts anew finds no end of what the one before asked for") {
    auto owned = std::make_unique<GatedEngine>();
    GatedEngine& engine = *owned;
    Host host({}, one_disk(std::move(owned)));
    ToyGuest first(
        [](ToyGuest& self) -> Stop {
            self.outputs.emplace_back(request(1, DiskOperation::kWrite, 0, 512));
            self.outputs.emplace_back(request(2, DiskOperation::kWrite, 0, 512));
            return replay::stop::Reset{};
        },
        [](ToyGuest&, const Input&) {});
    CHECK(std::holds_alternative<end::Reset>(host.run(first)));
    std::atomic<bool> all_ended{false};
    std::thread storage([&] {
        for (const std::uint64_t id : {1, 2}) {
            (void)engine.wait_for(1);
            (void)::poll(nullptr, 0, 20);
            if (id == 2) all_ended = true;
            engine.finish(id);
        }
    });
    host.ports->reset();
    CHECK(all_ended);
    storage.join();
    int inputs = 0;
    ToyGuest second([](ToyGuest&) -> Stop { return replay::stop::PoweredOff{}; },
                    [&](ToyGuest&, const Input&) { ++inputs; });
    CHECK(std::holds_alternative<end::PoweredOff>(host.run(second)));
    CHECK(inputs == 0);
}

TEST_CASE("What is written to a real file is what is read from it") {
    std::string path = "./node-disk-XXXXXX";
    {
        const Fd file(::mkstemp(path.data()));
        REQUIRE(::ftruncate(file.get(), 1 << 20) == 0);
    }
    const auto file = host::DiskFile::open(path, host::DiskAccess::kReadWrite);
    (void)::unlink(path.c_str());
    REQUIRE(file);
    Host host({}, one_disk(*host::make_disk_engine(*file)));
    bool same = false;
    std::uint64_t next = 1;
    ToyGuest guest(
        [&](ToyGuest& self) -> Stop {
            if (next > 1) return replay::stop::Halted{};
            // Both at once: the read finds what was asked to be written before it.
            self.outputs.emplace_back(request(next++, DiskOperation::kWrite, 4096, 8192));
            self.outputs.emplace_back(request(next++, DiskOperation::kRead, 4608, 1024));
            return replay::stop::Halted{};
        },
        [&](ToyGuest&, const Input& input) {
            const auto& done = std::get<replay::input::DiskCompletion>(input);
            REQUIRE(done.ok);
            if (done.id != 2) return;
            same = done.data.size() == 1024 && std::ranges::all_of(done.data, [](std::byte byte) {
                       return byte == std::byte{1};
                   });
            host.control.stop();
        });
    (void)host.run(guest);
    CHECK(same);
}

}  // namespace
}  // namespace ftvmm::node
