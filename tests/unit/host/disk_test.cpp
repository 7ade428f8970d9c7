#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "vmm/host/disk_engine.h"
#include "vmm/host/pool_engine.h"
#include "vmm/host/uring_engine.h"

namespace ftvmm::host {
namespace {

constexpr std::uint64_t kDiskBytes = std::uint64_t{1} << 20;

// A file of zeroes that goes away with it.
class TestFile {
  public:
    explicit TestFile(std::string folder = ".", std::uint64_t size = kDiskBytes)
        : path_(std::move(folder) + "/disk-test-XXXXXX") {
        const Fd fd(::mkstemp(path_.data()));
        REQUIRE(fd.valid());
        REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
    }
    TestFile(const TestFile&) = delete;
    TestFile& operator=(const TestFile&) = delete;
    ~TestFile() { ::unlink(path_.c_str()); }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

DiskRequest request(std::uint64_t id, DiskOperation operation, std::uint64_t offset,
                    std::uint64_t length, std::byte fill = std::byte{0}) {
    AlignedBuffer buffer(operation == DiskOperation::kRead ? length : 0);
    SharedBytes data;
    if (operation == DiskOperation::kWrite) {
        data = SharedBytes::copy_of(std::vector(length, fill));
    }
    return DiskRequest{DiskRequestId(id), operation, offset, length, std::move(buffer), data, {}};
}

std::vector<DiskCompletion> wait_for_some(DiskEngine& engine) {
    constexpr int kPatienceMs = 30000;
    while (true) {
        pollfd ready{engine.ready_fd(), POLLIN, 0};
        REQUIRE(::poll(&ready, 1, kPatienceMs) == 1);
        if (auto done = engine.take_completions(); !done.empty()) return done;
    }
}

DiskCompletion ask(DiskEngine& engine, DiskRequest asked) {
    // NOLINTNEXTLINE(bugprone-use-after-move): what is refused stays with the caller.
    REQUIRE(engine.try_submit(std::move(asked)));
    auto done = wait_for_some(engine);
    REQUIRE(done.size() == 1);
    return std::move(done[0]);
}

std::unique_ptr<DiskEngine> engine_of(const DiskFile& disk, bool uring) {
    auto engine = uring ? UringEngine::create(disk) : PoolEngine::create(disk);
    // A host that forbids io_uring runs the other engine twice.
    if (!engine && uring) engine = PoolEngine::create(disk);
    REQUIRE(engine);
    return std::move(*engine);
}

TEST_CASE("Many random requests at once leave the disk as a model has it") {
    const TestFile file(GENERATE(".", "/dev/shm"));
    const auto disk = DiskFile::open(file.path(), DiskAccess::kReadWrite);
    REQUIRE(disk);
    const auto engine = engine_of(*disk, GENERATE(true, false));
    SeededEntropy entropy(7);
    std::vector<std::byte> model(kDiskBytes);
    constexpr std::uint64_t kLanes = 64;  // Each is a part of the disk with one request at a time.
    constexpr std::uint64_t kLaneBytes = kDiskBytes / kLanes;
    std::map<std::uint64_t, DiskRequest> flying;
    std::uint64_t asked = 0;
    while (asked < 3000 || !flying.empty()) {
        for (std::uint64_t lane = 0; lane < kLanes && asked < 3000; ++lane) {
            if (flying.contains(lane)) continue;
            const auto sectors = kLaneBytes / kSectorBytes;
            const auto first = entropy.below(sectors);
            const auto operation = static_cast<DiskOperation>(entropy.below(5));
            const auto offset = lane * kLaneBytes + first * kSectorBytes;
            const auto length = (1 + entropy.below(sectors - first)) * kSectorBytes;
            const auto fill = static_cast<std::byte>(entropy.below(256));
            flying[lane] = DiskRequest{DiskRequestId(lane), operation, offset, length, {}, {}, {}};
            REQUIRE(engine->try_submit(request(lane, operation, offset, length, fill)));
            ++asked;
            const auto at = model.begin() + static_cast<std::ptrdiff_t>(offset);
            if (operation == DiskOperation::kWrite) {
                std::fill_n(at, length, fill);
            } else if (operation == DiskOperation::kWriteZeroes ||
                       operation == DiskOperation::kDiscard) {
                std::fill_n(at, length, std::byte{0});
            }
        }
        for (const DiskCompletion& done : wait_for_some(*engine)) {
            const auto sent = flying.extract(done.id.value());
            REQUIRE_FALSE(sent.empty());
            REQUIRE(done.error_number == 0);
            if (sent.mapped().operation != DiskOperation::kRead) continue;
            REQUIRE(std::ranges::equal(
                done.buffer.bytes(),
                std::span(model).subspan(sent.mapped().offset, sent.mapped().length)));
        }
    }
    const auto all = ask(*engine, request(0, DiskOperation::kRead, 0, kDiskBytes));
    CHECK(std::ranges::equal(all.buffer.bytes(), model));
}

// Memory in pieces that do not lie in the order of the data.
class Scattered {
  public:
    Scattered() : bytes_(std::make_shared<AlignedBuffer>(8 * kPiece)) {}
    [[nodiscard]] MemoryPieces pieces() const {
        const auto all = bytes_->bytes();
        return {{all.subspan(4 * kPiece, 2 * kPiece), all.subspan(kPiece, kPiece),
                 all.subspan(2 * kPiece, kPiece)},
                bytes_};
    }
    [[nodiscard]] long holders() const { return bytes_.use_count(); }

    static constexpr std::size_t kPiece = kBufferAlignment;

  private:
    std::shared_ptr<AlignedBuffer> bytes_;
};

TEST_CASE("Data in pieces goes to the disk and comes from it in their order") {
    const TestFile file(GENERATE(".", "/dev/shm"));
    const auto disk = DiskFile::open(file.path(), DiskAccess::kReadWrite);
    REQUIRE(disk);
    const auto engine = engine_of(*disk, GENERATE(true, false));
    const Scattered memory;
    std::vector<std::byte> wanted(memory.pieces().size());
    SeededEntropy(3).fill(wanted);
    std::size_t at = 0;
    for (const auto piece : memory.pieces().pieces) {
        std::ranges::copy(std::span(wanted).subspan(at, piece.size()), piece.begin());
        at += piece.size();
    }
    const auto in_place = [&](DiskOperation operation, std::uint64_t length) {
        return DiskRequest{DiskRequestId(1), operation, 512, length, {}, {}, memory.pieces()};
    };
    CHECK(ask(*engine, in_place(DiskOperation::kWrite, wanted.size())).error_number == 0);
    const auto found = ask(*engine, request(2, DiskOperation::kRead, 512, wanted.size()));
    CHECK(std::ranges::equal(found.buffer.bytes(), wanted));
    for (const auto piece : memory.pieces().pieces)
        std::ranges::fill(piece, std::byte{0});
    CHECK(ask(*engine, in_place(DiskOperation::kRead, wanted.size())).error_number == 0);
    CHECK(std::ranges::equal(memory.pieces().pieces[0],
                             std::span(wanted).first(2 * Scattered::kPiece)));
    CHECK(std::ranges::equal(memory.pieces().pieces[2], std::span(wanted).last(Scattered::kPiece)));
    CHECK(ask(*engine, in_place(DiskOperation::kRead, wanted.size() + 512)).error_number == EINVAL);
    // What has ended holds no memory.
    CHECK(memory.holders() == 1);
}

TEST_CASE("A file that ends within a piece is an error there too") {
    const TestFile file;
    const auto disk = DiskFile::open(file.path(), DiskAccess::kReadWrite);
    REQUIRE(disk);
    const auto engine = engine_of(*disk, GENERATE(true, false));
    const Scattered memory;
    REQUIRE(::truncate(file.path().c_str(), 3 * Scattered::kPiece + 512) == 0);
    const auto done = ask(*engine, DiskRequest{DiskRequestId(1),
                                               DiskOperation::kRead,
                                               0,
                                               4 * Scattered::kPiece,
                                               {},
                                               {},
                                               memory.pieces()});
    CHECK(done.error_number == EIO);
}

TEST_CASE("A request that may not reach the file completes with its errno") {
    const TestFile file;
    const auto disk = DiskFile::open(file.path(), DiskAccess::kReadOnly);
    REQUIRE(disk);
    const auto engine = engine_of(*disk, GENERATE(true, false));
    using enum DiskOperation;
    CHECK(ask(*engine, request(1, kWrite, 0, 512)).error_number == EROFS);
    CHECK(ask(*engine, request(1, kDiscard, 0, 512)).error_number == EROFS);
    CHECK(ask(*engine, request(1, kRead, kDiskBytes, 512)).error_number == EINVAL);
    CHECK(ask(*engine, request(1, kRead, 1, 512)).error_number == EINVAL);
    CHECK(ask(*engine, request(1, kRead, ~std::uint64_t{511}, 1024)).error_number == EINVAL);
    CHECK(ask(*engine, request(1, kRead, 0, 512)).error_number == 0);
    CHECK(ask(*engine, request(1, kFlush, 0, 0)).error_number == 0);
}

TEST_CASE("A disk that was cut short under the VM gives errors, not silence") {
    const TestFile file;
    const auto disk = DiskFile::open(file.path(), DiskAccess::kReadWrite);
    REQUIRE(disk);
    const auto engine = engine_of(*disk, GENERATE(true, false));
    REQUIRE(::truncate(file.path().c_str(), 4096) == 0);
    CHECK(ask(*engine, request(1, DiskOperation::kRead, 0, 8192)).error_number == EIO);
}

TEST_CASE("A full engine gives the request back untouched") {
    const TestFile file;
    const auto disk = DiskFile::open(file.path(), DiskAccess::kReadWrite);
    REQUIRE(disk);
    const auto engine = engine_of(*disk, GENERATE(true, false));
    for (std::uint64_t id = 0; id < DiskEngine::kMaxInFlight; ++id)
        REQUIRE(engine->try_submit(request(id, DiskOperation::kRead, 0, 512)));
    DiskRequest surplus = request(999, DiskOperation::kRead, 0, 512);
    // NOLINTNEXTLINE(bugprone-use-after-move): what is refused stays with the caller.
    CHECK_FALSE(engine->try_submit(std::move(surplus)));
    // NOLINTNEXTLINE(bugprone-use-after-move): that it was not moved is the point.
    CHECK(surplus.buffer.size() == 512);
    CHECK_FALSE(wait_for_some(*engine).empty());
    // NOLINTNEXTLINE(bugprone-use-after-move): what is refused stays with the caller.
    CHECK(engine->try_submit(std::move(surplus)));
}

TEST_CASE("A disk in use is refused to a second opener in the same process and in another") {
    const TestFile file;
    {
        const auto disk = DiskFile::open(file.path(), DiskAccess::kReadWrite);
        REQUIRE(disk);
        const auto again = DiskFile::open(file.path(), DiskAccess::kReadOnly);
        REQUIRE_FALSE(again);
        CHECK_THAT(again.error().line(), Catch::Contains("is held by another VM"));
        const pid_t child = ::fork();
        if (child == 0) ::_exit(DiskFile::open(file.path(), DiskAccess::kReadWrite) ? 1 : 0);
        int status = -1;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
    }
    const auto reader = DiskFile::open(file.path(), DiskAccess::kReadOnly);
    CHECK(reader);
    CHECK(DiskFile::open(file.path(), DiskAccess::kReadOnly));
    CHECK_FALSE(DiskFile::open(file.path(), DiskAccess::kReadWrite));
}

TEST_CASE("What is no disk is refused with what to do") {
    const TestFile odd(".", 1000);
    const TestFile empty(".", 0);
    for (const auto& [path, words] :
         std::map<std::string, std::string>{{"/no/such", "No such file"},
                                            {"/dev/null", "neither a file nor a block device"},
                                            {odd.path(), "truncate -s"},
                                            {empty.path(), "truncate -s"}}) {
        const auto disk = DiskFile::open(path, DiskAccess::kReadWrite);
        REQUIRE_FALSE(disk);
        CHECK_THAT(disk.error().line(), Catch::Contains(words));
    }
}

}  // namespace
}  // namespace ftvmm::host
