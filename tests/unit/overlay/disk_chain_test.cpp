#include "vmm/overlay/disk_chain.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include <catch2/catch.hpp>

#include "base/random.h"

namespace ftvmm::overlay {
namespace {

using host::DiskOperation;
using host::DiskRequestId;

constexpr std::uint64_t kSector = host::kSectorBytes;
constexpr std::uint64_t kDiskBytes = std::uint64_t{2} << 20U;

// A disk of zeroes in a folder of its own.
class TestDisk {
  public:
    TestDisk() {
        std::string folder = "chain-test-XXXXXX";
        REQUIRE(::mkdtemp(folder.data()) != nullptr);
        folder_ = folder;
        std::ofstream(path()).close();
        std::filesystem::resize_file(path(), kDiskBytes);
    }
    TestDisk(const TestDisk&) = delete;
    TestDisk& operator=(const TestDisk&) = delete;
    ~TestDisk() { std::filesystem::remove_all(folder_); }

    [[nodiscard]] std::string path() const { return std::filesystem::absolute(folder_) / "disk"; }
    [[nodiscard]] ChainOptions options(host::DiskLock lock = host::DiskLock::kRequired) const {
        return {path(), host::DiskAccess::kReadWrite, lock};
    }
    [[nodiscard]] std::vector<std::string> files() const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::directory_iterator(folder_))
            names.push_back(entry.path().filename());
        std::ranges::sort(names);
        return names;
    }

  private:
    std::filesystem::path folder_;
};

bool always() {
    return true;
}

// As who takes the VM over opens it.
std::unique_ptr<DiskChain> taken_over(const TestDisk& disk, std::uint64_t generation) {
    auto chain = DiskChain::open(disk.options(host::DiskLock::kIfFree));
    REQUIRE(chain);
    REQUIRE((*chain)->cover(generation));
    return std::move(*chain);
}

// One guest's requests, one at a time.
class Guest {
  public:
    explicit Guest(DiskChain& chain) {
        auto engine = chain.make_engine();
        REQUIRE(engine);
        engine_ = std::move(*engine);
    }
    int write(std::uint64_t offset, std::uint64_t length, std::byte fill) {
        return ask({DiskRequestId(++asked_),
                    DiskOperation::kWrite,
                    offset,
                    length,
                    {},
                    SharedBytes::copy_of(std::vector(length, fill)),
                    {}})
            .error_number;
    }
    std::vector<std::byte> read(std::uint64_t offset, std::uint64_t length) {
        const auto done = ask({DiskRequestId(++asked_),
                               DiskOperation::kRead,
                               offset,
                               length,
                               AlignedBuffer(length),
                               {},
                               {}});
        REQUIRE(done.error_number == 0);
        return {done.buffer.bytes().begin(), done.buffer.bytes().end()};
    }
    [[nodiscard]] const host::DiskEngine& engine() const { return *engine_; }

  private:
    host::DiskCompletion ask(host::DiskRequest request) {
        // NOLINTNEXTLINE(bugprone-use-after-move): what is refused stays with the caller.
        REQUIRE(engine_->try_submit(std::move(request)));
        while (true) {
            pollfd ready{engine_->ready_fd(), POLLIN, 0};
            REQUIRE(::poll(&ready, 1, 30000) == 1);
            auto done = engine_->take_completions();
            if (!done.empty()) return std::move(done[0]);
        }
    }

    std::unique_ptr<host::DiskEngine> engine_;
    std::uint64_t asked_ = 0;
};

bool is_all(const std::vector<std::byte>& bytes, std::byte value) {
    return std::ranges::all_of(bytes, [&](std::byte byte) { return byte == value; });
}

TEST_CASE("A disk that nobody else has is used as it is") {
    const TestDisk disk;
    const auto chain = taken_over(disk, 3);
    Guest guest(*chain);
    CHECK(chain->layers() == nullptr);
    CHECK(guest.write(0, kSector, std::byte{1}) == 0);
    CHECK(chain->bring_home(always, false) == true);
    CHECK(disk.files() == std::vector<std::string>{"disk"});
}

TEST_CASE("A disk that the lost host has is covered, and is one file again once it is free") {
    const TestDisk disk;
    auto lost = DiskChain::open(disk.options());
    REQUIRE(lost);
    Guest before(**lost);
    REQUIRE(before.write(0, 8 * kSector, std::byte{1}) == 0);

    const auto chain = taken_over(disk, 3);
    CHECK(chain->top() == disk.path() + ".g3");
    CHECK(disk.files() == std::vector<std::string>{"disk", "disk.g3"});
    Guest guest(*chain);
    CHECK(is_all(guest.read(0, 8 * kSector), std::byte{1}));
    CHECK(guest.write(2 * kSector, 2 * kSector, std::byte{2}) == 0);
    // What the lost host wrote lands.
    REQUIRE(before.write(0, 4 * kSector, std::byte{9}) == 0);
    CHECK(is_all(guest.read(2 * kSector, 2 * kSector), std::byte{2}));
    CHECK(chain->bring_home(always, false) == false);
    CHECK_FALSE(chain->layers()->is_settled());

    lost->reset();
    SECTION("and it owns the VM no more") {
        CHECK(chain->bring_home([] { return false; }, false) == false);
        CHECK_FALSE(chain->layers()->is_settled());
        CHECK(disk.files() == std::vector<std::string>{"disk", "disk.g3"});
    }
    SECTION("and it is lost before it can delete the overlay") {
        int asked = 0;
        Result<bool> home = false;
        for (int i = 0; i < 3; ++i)
            home = chain->bring_home([&] { return ++asked < 2; }, false);
        CHECK(home == false);
        CHECK(chain->layers()->is_whole());
        CHECK(disk.files() == std::vector<std::string>{"disk", "disk.g3"});
    }
    SECTION("and it goes on") {
        Result<bool> home = false;
        for (int i = 0; i < 10 && !*home; ++i) {
            home = chain->bring_home(always, false);
            REQUIRE(home);
        }
        CHECK(*home);
        CHECK(chain->layers()->is_whole());
        CHECK(disk.files() == std::vector<std::string>{"disk"});
        CHECK(is_all(guest.read(2 * kSector, 2 * kSector), std::byte{2}));
        CHECK(is_all(guest.read(0, 2 * kSector), std::byte{9}));
        CHECK(guest.write(6 * kSector, kSector, std::byte{3}) == 0);
        std::ifstream file(disk.path(), std::ios::binary);
        std::string bytes(7 * kSector, '\0');
        file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        CHECK(bytes.substr(2 * kSector, 2 * kSector) == std::string(2 * kSector, '\2'));
        CHECK(bytes.substr(6 * kSector) == std::string(kSector, '\3'));
    }
}

TEST_CASE("A takeover of a takeover lies over both, and the next start brings all of it home") {
    const TestDisk disk;
    auto first = DiskChain::open(disk.options());
    REQUIRE(first);
    REQUIRE(Guest(**first).write(0, 4 * kSector, std::byte{1}) == 0);
    auto second = taken_over(disk, 3);
    REQUIRE(Guest(*second).write(kSector, 3 * kSector, std::byte{2}) == 0);
    auto third = taken_over(disk, 12);
    REQUIRE(Guest(*third).write(2 * kSector, 2 * kSector, std::byte{3}) == 0);
    CHECK(disk.files() == std::vector<std::string>{"disk", "disk.g12", "disk.g3"});
    SECTION("nobody starts it beside them") {
        const auto chain = DiskChain::open(disk.options());
        REQUIRE_FALSE(chain);
        CHECK(chain.error().what() == "disk " + disk.path() + " is held by another VM");
    }
    SECTION("nor when only the first is gone") {
        first->reset();
        const auto chain = DiskChain::open(disk.options());
        REQUIRE_FALSE(chain);
        CHECK(chain.error().what() == "disk " + disk.path() + ".g3 is held by another VM");
    }
    SECTION("all are gone") {
        first->reset();
        second.reset();
        third.reset();
        const auto chain = DiskChain::open(disk.options());
        REQUIRE(chain);
        Guest guest(**chain);
        const auto check = [&] {
            CHECK(is_all(guest.read(0, kSector), std::byte{1}));
            CHECK(is_all(guest.read(kSector, kSector), std::byte{2}));
            CHECK(is_all(guest.read(2 * kSector, 2 * kSector), std::byte{3}));
        };
        check();
        CHECK(std::string(guest.engine().kind()) == "threads");
        for (int i = 0; i < 10; ++i)
            REQUIRE((*chain)->bring_home(always, false));
        check();
        CHECK(disk.files() == std::vector<std::string>{"disk"});
        CHECK((*chain)->layers()->is_whole());
    }
}

TEST_CASE("Overlays are taken for what they are and for nothing else") {
    const TestDisk disk;
    for (const char* name :
         {".g", ".g0", ".g03", ".g4x", ".g-4", ".tmp-1", "g4", ".g99999999999999999999"})
        std::ofstream(disk.path() + name) << "no overlay";
    REQUIRE(DiskChain::open(disk.options()));
    // Whole sectors of something else.
    std::ofstream(disk.path() + ".g4") << std::string(1024, 'x');
    const auto chain = DiskChain::open(disk.options());
    REQUIRE(chain);
    const auto engine = (*chain)->make_engine();
    REQUIRE_FALSE(engine);
    CHECK(engine.error().what() ==
          "overlay " + disk.path() + ".g4 has another size than an overlay of this disk");
}

TEST_CASE("Another file under the disk's name is not written through its overlay") {
    const TestDisk disk;
    {
        const auto lost = DiskChain::open(disk.options());
        REQUIRE(lost);
        const auto chain = taken_over(disk, 3);
    }
    std::filesystem::rename(disk.path(), disk.path() + "-old");
    std::ofstream(disk.path()).close();
    std::filesystem::resize_file(disk.path(), kDiskBytes);
    const auto chain = DiskChain::open(disk.options());
    REQUIRE(chain);
    const auto engine = (*chain)->make_engine();
    REQUIRE_FALSE(engine);
    CHECK(engine.error().what() == "overlay " + disk.path() + ".g3: it lies over another file");
}

TEST_CASE("Who only reads a disk is told that it is not whole") {
    const TestDisk disk;
    {
        const auto lost = DiskChain::open(disk.options());
        REQUIRE(lost);
        const auto chain = taken_over(disk, 3);
    }
    auto options = disk.options();
    options.access = host::DiskAccess::kReadOnly;
    const auto chain = DiskChain::open(options);
    REQUIRE_FALSE(chain);
    CHECK(chain.error().what() == "disk " + disk.path() + " is not whole: " + disk.path() +
                                      ".g3 holds what was written last");
}

TEST_CASE("A guest that works while its disk is made one file notices nothing") {
    const TestDisk disk;
    auto lost = DiskChain::open(disk.options());
    REQUIRE(lost);
    const auto chain = taken_over(disk, 3);
    Guest guest(*chain);
    SeededEntropy random(11);
    std::vector<std::byte> model(kDiskBytes);
    constexpr std::uint64_t kSectors = kDiskBytes / kSector;
    const auto work = [&] {
        const std::uint64_t first = random.below(kSectors);
        const std::uint64_t count = 1 + random.below(std::min<std::uint64_t>(64, kSectors - first));
        const auto begin = model.begin() + static_cast<std::ptrdiff_t>(first * kSector);
        if (random.below(2) == 0) {
            const auto fill = static_cast<std::byte>(random.below(256));
            REQUIRE(guest.write(first * kSector, count * kSector, fill) == 0);
            std::fill_n(begin, count * kSector, fill);
        } else {
            const auto found = guest.read(first * kSector, count * kSector);
            REQUIRE(std::equal(found.begin(), found.end(), begin));
        }
    };
    for (int i = 0; i < 300; ++i)
        work();
    lost->reset();
    std::atomic<bool> is_home{false};
    std::thread merge([&] {
        while (!is_home)
            is_home = chain->bring_home(always, false).value_or(true);
    });
    while (!is_home)
        work();
    merge.join();
    for (int i = 0; i < 300; ++i)
        work();
    CHECK(chain->layers()->is_whole());
    CHECK(is_all(guest.read(0, kSector), model[0]));
    CHECK(guest.read(0, kDiskBytes / 2) ==
          std::vector(model.begin(), model.begin() + kDiskBytes / 2));
}

TEST_CASE("Many requests at once, each to its own place, find what they wrote while all is moved") {
    constexpr std::uint64_t kThreads = 4;
    constexpr std::uint64_t kPiece = 8 * kSector;
    constexpr std::uint64_t kPieces = kDiskBytes / kPiece / kThreads;
    for (int round = 0; round < 20; ++round) {
        const TestDisk disk;
        auto lost = DiskChain::open(disk.options());
        REQUIRE(lost);
        const auto chain = taken_over(disk, 3);
        REQUIRE(chain->make_engine());
        LayeredDisk& layers = *chain->layers();
        std::atomic<int> wrong{0};
        std::atomic<bool> is_home{false};
        // Each has every fourth piece, so that each move takes some of everybody's.
        const auto work = [&](std::uint64_t thread) {
            SeededEntropy random(thread);
            std::vector<std::uint8_t> model(kPieces);
            AlignedBuffer buffer(kPiece);
            const auto at = [&](std::uint64_t piece) {
                return (piece * kThreads + thread) * kPiece;
            };
            const auto look = [&](std::uint64_t piece) {
                const bool is_read = layers.read(buffer.bytes(), at(piece)) == 0;
                const bool is_same = std::ranges::all_of(
                    buffer.bytes(), [&](std::byte b) { return b == std::byte{model[piece]}; });
                wrong += is_read && is_same ? 0 : 1;
            };
            for (int i = 0; i < 200 || !is_home; ++i) {
                const std::uint64_t piece = random.below(kPieces);
                if (random.below(2) == 0) {
                    model[piece] = static_cast<std::uint8_t>(random.below(256));
                    std::ranges::fill(buffer.bytes(), std::byte{model[piece]});
                    wrong += layers.write(buffer.bytes(), at(piece)) == 0 ? 0 : 1;
                } else {
                    look(piece);
                }
                if (i == 100 && thread == 0) lost->reset();
            }
            for (std::uint64_t piece = 0; piece < kPieces; ++piece)
                look(piece);
        };
        std::vector<std::thread> threads;
        for (std::uint64_t thread = 0; thread < kThreads; ++thread)
            threads.emplace_back(work, thread);
        while (!is_home)
            is_home = chain->bring_home(always, false).value_or(true);
        for (std::thread& thread : threads)
            thread.join();
        CHECK(wrong == 0);
        CHECK(layers.is_whole());
    }
}

}  // namespace
}  // namespace ftvmm::overlay
