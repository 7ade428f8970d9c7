#include "vmm/machine/state_file.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <catch2/catch.hpp>

#include "sample_state.h"
#include "temp_folder.h"

namespace ftvmm::machine {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMemoryBytes = 600 * kPageBytes;  // Two chunks and a part.

struct Folder : ftvmm::testing::TempFolder {
    [[nodiscard]] std::string file() const { return TempFolder::file("vm.state"); }
};

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

GuestMemory make_memory() {
    auto memory = GuestMemory::create(kMemoryBytes);
    REQUIRE(memory);
    return std::move(*memory);
}

// A few bytes in pages of the first and the last chunk, the last page among them.
void fill(const GuestMemory& memory) {
    for (const std::uint64_t page : {0, 1, 255, 513, 599})
        memory.bytes()[page * kPageBytes + page] = std::byte{0x5a};
}

EncodedState small_state() {
    return {"a message", testing::some_bytes(11)};
}

// Reads all of the file at `path`; what is wrong with it, or "" where it holds what was saved.
std::string fault_of(const std::string& path) {
    auto file = StateFile::open(path);
    if (!file) return file.error().line();
    const auto memory = make_memory();
    if (const auto read = file->read_memory(memory); !read) return read.error().line();
    const auto wanted = make_memory();
    fill(wanted);
    const bool same = file->state().message == small_state().message &&
                      file->state().bulk == small_state().bulk &&
                      std::ranges::equal(memory.bytes(), wanted.bytes());
    return same ? "" : "something else than what was saved";
}

struct Saved {
    Folder folder;
    std::string bytes;

    Saved() {
        const auto memory = make_memory();
        fill(memory);
        REQUIRE(write_state_file(folder.file(), small_state(), memory));
        bytes = read_file(folder.file());
    }
    [[nodiscard]] std::string fault_with(const std::string& changed) const {
        write_file(folder.file(), changed);
        return fault_of(folder.file());
    }
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_CASE("A state file gives back the state and the memory, and is small") {
    const Saved saved;
    CHECK(fault_of(saved.folder.file()).empty());
    CHECK(saved.bytes.size() < 1000);
    CHECK(saved.folder.files() == 1);
    CHECK((fs::status(saved.folder.file()).permissions() & fs::perms::all) ==
          (fs::perms::owner_read | fs::perms::owner_write));
}

TEST_CASE("Memory that does not compress comes back too") {
    const Folder folder;
    const auto memory = make_memory();
    SeededEntropy(1).fill(memory.bytes());
    REQUIRE(write_state_file(folder.file(), small_state(), memory));
    const auto restored = make_memory();
    auto file = StateFile::open(folder.file());
    REQUIRE(file);
    REQUIRE(file->read_memory(restored));
    CHECK(std::ranges::equal(memory.bytes(), restored.bytes()));
}

TEST_CASE("A state file with any one byte changed is refused") {
    const Saved saved;
    for (std::size_t at = 0; at < saved.bytes.size(); ++at) {
        for (const int bits : {0x01, 0x80, 0xff}) {
            std::string changed = saved.bytes;
            changed[at] = static_cast<char>(changed[at] ^ bits);
            INFO("byte " << at << " ^ " << bits);
            REQUIRE(!saved.fault_with(changed).empty());
        }
    }
}

TEST_CASE("A state file cut short anywhere, or with more behind it, is refused") {
    const Saved saved;
    for (std::size_t size = 0; size < saved.bytes.size(); ++size) {
        INFO(size << " bytes");
        const auto fault = saved.fault_with(saved.bytes.substr(0, size));
        REQUIRE(contains(fault, "ends before its end marker"));
        REQUIRE(contains(fault, "start the VM anew"));
    }
    CHECK(contains(saved.fault_with(saved.bytes + "x"), "follows its end marker"));
}

TEST_CASE("A foreign file and a future version are told apart from damage") {
    const Saved saved;
    CHECK(contains(saved.fault_with(std::string(100, 'x')), "no state of a VM"));
    std::string newer = saved.bytes;
    newer[8] = 2;
    CHECK(contains(saved.fault_with(newer), "version 2, and this ftvmm reads version 1"));
    fs::remove(saved.folder.file());
    CHECK(contains(fault_of(saved.folder.file()), "No such file"));
}

TEST_CASE("Memory that the guest does not have is refused") {
    const Saved saved;
    auto smaller = GuestMemory::create(kMemoryBytes - kPageBytes);
    REQUIRE(smaller);
    auto file = StateFile::open(saved.folder.file());
    REQUIRE(file);
    const auto read = file->read_memory(*smaller);
    REQUIRE(!read);
    CHECK(contains(read.error().what(), "memory that the guest does not have"));
}

TEST_CASE("What an interrupted save left is cleared away, and a failed one leaves the old file") {
    const Saved saved;
    const std::string part = saved.folder.file() + ".part";
    write_file(part, "half a file");
    auto memory = make_memory();
    fill(memory);
    REQUIRE(write_state_file(saved.folder.file(), small_state(), memory));
    CHECK(saved.folder.files() == 1);

    // No file may grow: what a full disk does.
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const rlimit limit{100, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    const auto failed = write_state_file(saved.folder.file(), small_state(), memory);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    REQUIRE(!failed);
    CHECK(contains(failed.error().advice(), "free space"));
    CHECK(saved.folder.files() == 1);
    CHECK(fault_of(saved.folder.file()).empty());
}

}  // namespace
}  // namespace ftvmm::machine
