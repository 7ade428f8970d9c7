#include "replay/log_file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "sample_log.h"
#include "temp_folder.h"

namespace ftvmm::replay {
namespace {

namespace fs = std::filesystem;
using testing::sample_batches;
using testing::sample_header;
using Kind = LogTail::Kind;

struct Folder : ftvmm::testing::TempFolder {
    [[nodiscard]] std::string file() const { return TempFolder::file("vm.log"); }
};

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

void write_log(const std::string& path, const std::vector<std::vector<std::byte>>& batches) {
    auto writer = LogWriter::create(path, sample_header());
    REQUIRE(writer);
    for (const auto& batch : batches)
        REQUIRE(writer->append(batch));
    REQUIRE(writer->sync());
}

struct Read {
    std::vector<Batch> batches;
    LogTail tail;
};

Read read_log(const std::string& path) {
    auto reader = LogReader::open(path);
    REQUIRE(reader);
    CHECK(reader->header() == sample_header());
    Read read;
    while (true) {
        auto batch = reader->next();
        REQUIRE(batch);
        if (!*batch) break;
        read.batches.push_back(std::move(**batch));
    }
    read.tail = reader->tail();
    return read;
}

std::string golden_path() {
    return std::string(FTVMM_GOLDEN) + "/log-v1";
}

// Where each batch of the sample log begins, and where it ends.
std::vector<std::uint64_t> sample_borders() {
    std::vector<std::uint64_t> borders{encode_log_header(sample_header())->size()};
    for (const auto& batch : sample_batches())
        borders.push_back(borders.back() + batch.size());
    return borders;
}

}  // namespace

TEST_CASE("A log is read as it was written, up to its end") {
    const Folder folder;
    write_log(folder.file(), sample_batches());
    const auto read = read_log(folder.file());
    REQUIRE(read.batches.size() == 3);
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(read.batches[i] == *decode_batch(sample_batches()[i]));
    CHECK(read.tail.kind == Kind::kEnded);
    CHECK(read.tail.offset == sample_borders().back());
    CHECK(describe(read.tail) == "the log is whole");
}

TEST_CASE("A log without an end, or with a reset's alone, says that its writer was stopped") {
    const Folder folder;
    auto batches = sample_batches();
    batches.pop_back();  // The last record is a reset's end now.
    write_log(folder.file(), batches);
    const auto read = read_log(folder.file());
    CHECK(read.batches.size() == 2);
    CHECK(read.tail.kind == Kind::kStopped);
    CHECK(describe(read.tail).find("its writer was stopped at byte") != std::string::npos);
    CHECK(!read.tail.is_damaged());
}

TEST_CASE("A log that is cut off anywhere gives every whole batch, then the place") {
    const Folder folder;
    write_log(folder.file(), sample_batches());
    const std::string whole = read_file(folder.file());
    const auto borders = sample_borders();
    REQUIRE(whole.size() == borders.back());
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CAPTURE(size);
        write_file(folder.file(), whole.substr(0, size));
        if (size < borders.front()) {
            const auto reader = LogReader::open(folder.file());
            REQUIRE(!reader);
            CHECK(reader.error().what().find(folder.file()) == 0);
            continue;
        }
        const auto read = read_log(folder.file());
        const auto last = std::ranges::upper_bound(borders, size) - 1;
        REQUIRE(read.batches.size() == static_cast<std::size_t>(last - borders.begin()));
        CHECK(read.tail.offset == *last);
        CHECK(read.tail.kind == (*last == size ? Kind::kStopped : Kind::kTorn));
    }
}

TEST_CASE("A bit of a log that has changed is told with its batch's place") {
    const Folder folder;
    write_log(folder.file(), sample_batches());
    const std::string whole = read_file(folder.file());
    const auto borders = sample_borders();
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
        CAPTURE(bit);
        const std::size_t byte = bit / 8;
        auto damaged = whole;
        damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << bit % 8));
        write_file(folder.file(), damaged);
        if (byte < borders.front()) {
            REQUIRE(!LogReader::open(folder.file()));
            continue;
        }
        const auto read = read_log(folder.file());
        const auto last = std::ranges::upper_bound(borders, byte) - 1;
        REQUIRE(read.batches.size() == static_cast<std::size_t>(last - borders.begin()));
        CHECK(read.tail.offset == *last);
        CHECK(read.tail.kind == Kind::kCorrupt);
        CHECK(!read.tail.why.empty());
    }
}

TEST_CASE("A batch that is missing in between is told, and one that comes twice") {
    const Folder folder;
    const auto batches = sample_batches();
    write_log(folder.file(), {batches[0], batches[2]});
    auto read = read_log(folder.file());
    CHECK(read.batches.size() == 1);
    CHECK(read.tail.kind == Kind::kCorrupt);
    CHECK(read.tail.why == "record 6 is followed by record 15");
    fs::remove(folder.file());
    write_log(folder.file(), {batches[0], batches[0]});
    read = read_log(folder.file());
    CHECK(read.batches.size() == 1);
    CHECK(read.tail.kind == Kind::kCorrupt);
}

TEST_CASE("A batch that goes back is told, unless it begins a life") {
    const Folder folder;
    const auto batch_at = [](Seq seq, std::uint64_t exits) {
        return testing::batch_of(seq, {{{exits, 0}, 1, input::PowerButton{}}});
    };
    const auto life = testing::batch_of(Seq(2), {{{}, 0, record::PowerOn{}}});
    write_log(folder.file(), {batch_at(Seq(0), 5), batch_at(Seq(1), 5), life, batch_at(Seq(3), 4)});
    CHECK(read_log(folder.file()).batches.size() == 4);
    fs::remove(folder.file());
    write_log(folder.file(), {batch_at(Seq(0), 5), batch_at(Seq(1), 4)});
    const auto read = read_log(folder.file());
    CHECK(read.batches.size() == 1);
    CHECK(read.tail.kind == Kind::kCorrupt);
}

TEST_CASE("A log may begin with any record") {
    const Folder folder;
    write_log(folder.file(), {sample_batches()[1]});
    CHECK(read_log(folder.file()).batches.front().first == Seq(7));
}

TEST_CASE("A log that is still being written is read on where it ended before") {
    const Folder folder;
    const auto batches = sample_batches();
    write_log(folder.file(), {batches[0]});
    auto reader = LogReader::open(folder.file());
    REQUIRE(reader);
    REQUIRE(*reader->next());
    REQUIRE(!*reader->next());
    const auto add = [&](std::span<const std::byte> bytes) {
        std::ofstream file(folder.file(), std::ios::binary | std::ios::app);
        for (const std::byte byte : bytes)
            file.put(static_cast<char>(byte));
    };
    add(std::span(batches[1]).first(50));
    REQUIRE(!*reader->next());
    CHECK(reader->tail().kind == Kind::kTorn);
    add(std::span(batches[1]).subspan(50));
    const auto batch = reader->next();
    REQUIRE(*batch);
    CHECK((*batch)->first == Seq(7));
}

TEST_CASE("A log is never written over a file, and is its owner's alone") {
    const Folder folder;
    write_log(folder.file(), {});
    struct stat status {};
    REQUIRE(::stat(folder.file().c_str(), &status) == 0);
    CHECK((status.st_mode & 0777U) == 0600U);
    const auto second = LogWriter::create(folder.file(), sample_header());
    REQUIRE(!second);
    CHECK(second.error().line().find("give another name") != std::string::npos);
}

TEST_CASE("A log in no folder is an error that names it") {
    const Folder folder;
    const auto writer = LogWriter::create(folder.file() + "/vm.log", sample_header());
    REQUIRE(!writer);
    CHECK(writer.error().what().find(folder.file()) == 0);
    CHECK(!LogReader::open(folder.file()));
}

TEST_CASE("A log that can not grow keeps what was whole, says where, and takes more later") {
    const Folder folder;
    const auto batches = sample_batches();
    auto writer = LogWriter::create(folder.file(), sample_header());
    REQUIRE(writer);
    REQUIRE(writer->append(batches[0]));
    const std::uint64_t whole = writer->bytes();
    // The kernel's own way to run out of space.
    const auto before = std::signal(SIGXFSZ, SIG_IGN);
    rlimit old{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
    const rlimit small{whole + 30, old.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    const auto full = writer->append(batches[1]);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &old) == 0);
    std::signal(SIGXFSZ, before);
    REQUIRE(!full);
    CHECK(full.error().what().find(folder.file()) == 0);
    CHECK(full.error().what().find("at byte " + std::to_string(whole + 30)) != std::string::npos);
    CHECK(full.error().advice().find("free space") != std::string::npos);
    CHECK(fs::file_size(folder.file()) == whole);
    CHECK(read_log(folder.file()).tail.kind == Kind::kStopped);
    REQUIRE(writer->append(batches[1]));
    CHECK(read_log(folder.file()).batches.size() == 2);
}

TEST_CASE("Version 1 of the format is read as it was when it was defined, and written the same") {
    const auto read = read_log(golden_path());
    REQUIRE(read.batches.size() == 3);
    CHECK(read.tail.kind == Kind::kEnded);
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(read.batches[i] == *decode_batch(sample_batches()[i]));
    // What zstd makes of the third batch is its own affair.
    const Folder folder;
    write_log(folder.file(), sample_batches());
    const std::size_t same = sample_borders()[2];
    CHECK(read_file(folder.file()).substr(0, same) == read_file(golden_path()).substr(0, same));
}

// Only for a new version: unit_replay "[.golden]" writes the file, which then stays as it is.
TEST_CASE("The golden log is written anew", "[.golden]") {
    fs::remove(golden_path());
    write_log(golden_path(), sample_batches());
}

}  // namespace ftvmm::replay
