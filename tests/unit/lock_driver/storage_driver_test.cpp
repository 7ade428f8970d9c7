// Requests in a folder of the test's own, and storage that hangs for as long as the test wants.
#include "lock/storage_driver.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <sstream>
#include <vector>

#include <catch2/catch.hpp>

#include "base/fd.h"
#include "hanging_storage.h"
#include "lock/fields.h"
#include "lock/shared_folder_driver.h"
#include "temp_folder.h"

namespace ftvmm::lock {
namespace {

using ftvmm::testing::TempFolder;
using std::chrono::milliseconds;
using testing::HangingStorage;

void put(const std::string& path, const std::string& content) {
    std::ofstream(path) << content;
}

std::string get(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

std::unique_ptr<StorageDriver> storage_in(const TempFolder& folder) {
    return StorageDriver::open({.folder = folder.file("")}).value();
}

bool is_done(const Reply& reply) {
    return std::holds_alternative<reply::Done>(reply);
}

std::string why(const Reply& reply) {
    REQUIRE(std::holds_alternative<reply::Unknown>(reply));
    return std::get<reply::Unknown>(reply).why;
}

std::string content(const Reply& reply) {
    REQUIRE(std::holds_alternative<reply::Content>(reply));
    return std::get<reply::Content>(reply).text;
}

Generation newest(StorageDriver& storage) {
    const Reply reply = storage.ask_and_wait(request::FindNewest{});
    REQUIRE(std::holds_alternative<reply::Newest>(reply));
    return std::get<reply::Newest>(reply).generation;
}

TEST_CASE("A claim that is written again leaves the file under its second name as it was") {
    const TempFolder folder;
    const auto storage = storage_in(folder);
    CHECK(is_done(storage->ask_and_wait(request::WriteOwn{"claim", "one"})));
    CHECK(is_done(storage->ask_and_wait(request::Link{"claim", "gen-1"})));
    CHECK(is_done(storage->ask_and_wait(request::WriteOwn{"claim", "two"})));
    CHECK(get(folder.file("gen-1")) == "one");
    CHECK(get(folder.file("claim")) == "two");
    CHECK(folder.files() == 2);
}

TEST_CASE("A name is linked once, and a claim that is not there is no claim") {
    const TempFolder folder;
    const auto storage = storage_in(folder);
    put(folder.file("a"), "a");
    put(folder.file("b"), "b");
    CHECK(is_done(storage->ask_and_wait(request::Link{"a", "gen-1"})));
    for (const char* again : {"a", "b"}) {
        const Reply reply = storage->ask_and_wait(request::Link{again, "gen-1"});
        CHECK(std::holds_alternative<reply::Taken>(reply));
    }
    CHECK(get(folder.file("gen-1")) == "a");
    CHECK(why(storage->ask_and_wait(request::Link{"c", "gen-2"})) ==
          "gen-2: No such file or directory");
}

TEST_CASE("A read tells what is there, what is not, and no more than any file may have") {
    const TempFolder folder;
    const auto storage = storage_in(folder);
    const auto read = [&](const char* name) { return storage->ask_and_wait(request::Read{name}); };
    CHECK(std::holds_alternative<reply::Missing>(read("owner-1")));
    CHECK(is_done(storage->ask_and_wait(request::WriteRecord{"owner-1", "first"})));
    CHECK(content(read("owner-1")) == "first");
    CHECK(is_done(storage->ask_and_wait(request::WriteRecord{"owner-1", "second"})));
    CHECK(content(read("owner-1")) == "second");
    put(folder.file("large"), std::string(3 * kMaxFileBytes, 'x'));
    CHECK(content(read("large")).size() == kMaxFileBytes + 1);
    std::filesystem::create_directory(folder.file("folder"));
    CHECK(why(read("folder")) == "folder: Is a directory");
    CHECK(folder.files() == 3);
}

TEST_CASE("The newest generation is the highest number, and no other name counts") {
    const TempFolder folder;
    const auto storage = storage_in(folder);
    CHECK(newest(*storage) == Generation(0));
    for (const char* name : {"gen-9", "gen-10", "gen-011", "gen-", "gen-12x", "gen--13", "gen-+14",
                             "xgen-15", "claim-16-00", "owner"})
        put(folder.file(name), "");
    CHECK(newest(*storage) == Generation(10));
    put(folder.file("gen-18446744073709551615"), "");
    CHECK_THAT(why(storage->ask_and_wait(request::FindNewest{})), Catch::Contains("none that is"));
}

TEST_CASE("The lock is one driver's until that is gone") {
    const TempFolder folder;
    auto first = storage_in(folder);
    const auto second = storage_in(folder);
    CHECK(is_done(first->ask_and_wait(request::TakeLock{})));
    CHECK(is_done(first->ask_and_wait(request::TakeLock{})));
    CHECK(std::holds_alternative<reply::Taken>(second->ask_and_wait(request::TakeLock{})));
    // As another program would: no close of the file gives the lock up.
    CHECK(Fd::open(folder.file("owner.lock"), O_RDWR));
    CHECK(std::holds_alternative<reply::Taken>(second->ask_and_wait(request::TakeLock{})));
    first.reset();
    CHECK(is_done(second->ask_and_wait(request::TakeLock{})));
}

TEST_CASE("What a killed run left stays, and is in nobody's way") {
    const TempFolder folder;
    put(folder.file("tmp-00000000000000000000000000000000-1"), "half");
    const auto storage = storage_in(folder);
    CHECK(is_done(storage->ask_and_wait(request::WriteRecord{"owner-1", "record"})));
    CHECK(get(folder.file("tmp-00000000000000000000000000000000-1")) == "half");
    CHECK(folder.files() == 2);
}

TEST_CASE("A folder that is not there, or is none, is refused with what to do") {
    const TempFolder folder;
    const auto none = StorageDriver::open({.folder = folder.file("none")});
    REQUIRE(!none);
    CHECK_THAT(none.error().line(), Catch::Contains("No such file") && Catch::Contains("mount"));
    CHECK(folder.files() == 0);
    put(folder.file("file"), "");
    const auto file = StorageDriver::open({.folder = folder.file("file")});
    REQUIRE(!file);
    CHECK_THAT(file.error().line(), Catch::Contains("Not a directory"));
}

TEST_CASE("File systems that can not settle an election are refused") {
    CHECK(check_file_system(EXT4_SUPER_MAGIC, "Y"));
    CHECK(check_file_system(NFS_SUPER_MAGIC, ""));
    CHECK(check_file_system(NFS_SUPER_MAGIC, "N"));
    CHECK(!check_file_system(NFS_SUPER_MAGIC, "Y"));
    CHECK(!check_file_system(NFS_SUPER_MAGIC, "1"));
    CHECK(!check_file_system(MSDOS_SUPER_MAGIC, ""));
}

TEST_CASE("Storage that hangs is answered for in time, and what it did late is told nobody") {
    const TempFolder folder;
    put(folder.file("claim"), "mine");
    HangingStorage hanging;
    const auto storage =
        StorageDriver::open(
            {.folder = folder.file(""), .deadline = milliseconds(1000), .hook = hanging.hook()})
            .value();
    hanging.hang();
    std::atomic<int> answers{0};
    std::promise<Reply> first;
    storage->ask(request::Link{"claim", "gen-1"}, [&](Reply reply) {
        ++answers;
        first.set_value(std::move(reply));
    });
    hanging.wait_until_it_hangs();
    // It waits behind the one that hangs, so it never begins.
    CHECK_THAT(why(storage->ask_and_wait(request::WriteRecord{"owner-1", "late"})),
               Catch::Contains("does not answer within 1000 ms"));
    CHECK_THAT(why(first.get_future().get()), Catch::Contains("does not answer within 1000 ms"));
    hanging.go_on();
    // The link was made after all, and who asks again finds it.
    CHECK(std::holds_alternative<reply::Taken>(
        storage->ask_and_wait(request::Link{"claim", "gen-1"})));
    CHECK(std::holds_alternative<reply::Missing>(storage->ask_and_wait(request::Read{"owner-1"})));
    CHECK(answers == 1);
}

TEST_CASE("A driver whose storage hangs can be left, and answers nobody any more") {
    const TempFolder folder;
    // It outlives the driver, for the thread that still hangs.
    HangingStorage hanging;
    std::atomic<int> answers{0};
    {
        const auto storage =
            StorageDriver::open(
                {.folder = folder.file(""), .deadline = milliseconds(1000), .hook = hanging.hook()})
                .value();
        hanging.hang();
        storage->ask(request::FindNewest{}, [&](const Reply&) { ++answers; });
        storage->ask(request::FindNewest{}, [&](const Reply&) { ++answers; });
        hanging.wait_until_it_hangs();
    }
    const int before = answers;
    hanging.go_on();
    hanging.wait_until_it_is_left();
    CHECK(answers == before);
}

}  // namespace
}  // namespace ftvmm::lock
