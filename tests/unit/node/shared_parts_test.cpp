#include "node/shared_parts.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>

#include "node/disk_merge.h"

namespace ftvmm::node {
namespace {

constexpr std::uint64_t kDiskBytes = std::uint64_t{1} << 20U;

// A VM with a disk in a folder of its own.
class TestVm {
  public:
    TestVm() {
        std::string folder = "parts-test-XXXXXX";
        REQUIRE(::mkdtemp(folder.data()) != nullptr);
        folder_ = std::filesystem::absolute(folder);
        config_.disks.resize(1);
        config_.disks[0].path = disk();
        std::ofstream(disk()).close();
        std::filesystem::resize_file(disk(), kDiskBytes);
    }
    TestVm(const TestVm&) = delete;
    TestVm& operator=(const TestVm&) = delete;
    ~TestVm() { std::filesystem::remove_all(folder_); }

    [[nodiscard]] std::string disk() const { return folder_ / "disk"; }
    [[nodiscard]] config::VmConfig& config() { return config_; }

  private:
    std::filesystem::path folder_;
    config::VmConfig config_;
};

// Lines that were said, by any thread.
class Lines {
  public:
    Log log() {
        return [this](const std::string& line) {
            const std::lock_guard guard(mutex_);
            lines_ += line + "\n";
            said_.notify_all();
        };
    }
    bool come(const std::string& text) {
        std::unique_lock lock(mutex_);
        return said_.wait_for(lock, std::chrono::seconds(60),
                              [&] { return lines_.find(text) != std::string::npos; });
    }
    std::string all() {
        const std::lock_guard guard(mutex_);
        return lines_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable said_;
    std::string lines_;
};

bool always() {
    return true;
}

DiskMerge::Options options(std::function<bool()> may_act, Lines& lines) {
    DiskMerge::Options options;
    options.may_act = std::move(may_act);
    options.log = lines.log();
    return options;
}

// What a host finds that takes the VM over in generation 3.
Result<HostParts> take_over(TestVm& vm, Lines& lines, bool host_answers = false) {
    const std::atomic<bool> stops{false};
    TapsAhead ahead(vm.config());
    return await_shared_parts(vm.config(), {3, host_answers}, &ahead, stops, lines.log());
}

TEST_CASE("A disk whose lock is free is used as it is by who takes the VM over") {
    TestVm vm;
    Lines lines;
    const auto parts = take_over(vm, lines);
    REQUIRE(parts);
    CHECK(parts->chains[0]->layers() == nullptr);
    CHECK(parts->disks.size() == 1);
    CHECK(parts->taps.empty());
    const DiskMerge merge(parts->chains, options(always, lines));
    CHECK(merge.status().empty());
    CHECK(lines.all().empty());
}

TEST_CASE(
    "The lock of a process that ended is waited for while its kernel does what it was given") {
    TestVm vm;
    Lines lines;
    auto lost = open_host_parts(vm.config());
    REQUIRE(lost);
    std::thread ends([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        lost->chains.clear();
    });
    const auto parts = take_over(vm, lines, true);
    ends.join();
    REQUIRE(parts);
    CHECK(parts->chains[0]->layers() == nullptr);
}

TEST_CASE("A disk that the lost host keeps is in layers until that host lets it go") {
    TestVm vm;
    Lines lines;
    auto lost = open_host_parts(vm.config());
    REQUIRE(lost);
    auto parts = take_over(vm, lines);
    REQUIRE(parts);
    REQUIRE(parts->chains[0]->layers() != nullptr);
    const AlignedBuffer bytes(kDiskBytes / 2);
    REQUIRE(parts->chains[0]->layers()->write(bytes.bytes(), 0) == 0);
    std::atomic<bool> may_act{true};
    SECTION("and is one file then") {
        const DiskMerge merge(parts->chains, options([&] { return may_act.load(); }, lines));
        CHECK(lines.all() ==
              "disk " + vm.disk() + ": what the VM writes goes into " + vm.disk() +
                  ".g3, as long as a host that was lost may yet write to the disk\n");
        REQUIRE(merge.status().size() == 1);
        CHECK_FALSE(merge.status()[0].is_settled);
        CHECK(merge.status()[0].left_bytes == bytes.size());
        lost->chains.clear();
        CHECK(lines.come("no other host can write to it any more: 512 KiB go into it"));
        CHECK(lines.come("disk " + vm.disk() + " is whole again"));
        CHECK(merge.status()[0].is_whole);
        CHECK_FALSE(std::filesystem::exists(vm.disk() + ".g3"));
    }
    SECTION("unless this host has lost the VM too") {
        may_act = false;
        lost->chains.clear();
        {
            DiskMerge merge(parts->chains, options([&] { return may_act.load(); }, lines));
            merge.stop();
        }
        CHECK(lines.come("disk " + vm.disk() + " is not whole: " + vm.disk() +
                         ".g3 belongs to it, and the VM's next start goes on to make them one"));
        CHECK(std::filesystem::exists(vm.disk() + ".g3"));
        // Which it does.
        *parts = {};
        auto next = open_host_parts(vm.config());
        REQUIRE(next);
        Lines later;
        const DiskMerge merge(next->chains, options(always, later));
        CHECK(later.come("is whole again"));
        CHECK_FALSE(std::filesystem::exists(vm.disk() + ".g3"));
    }
}

// A script of the test's.
std::string agent(const TestVm& vm, const std::string& text) {
    std::string path = vm.disk() + "-agent";
    std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
}

TEST_CASE("A host that keeps its locks is ended by the administrator's command") {
    TestVm vm;
    Lines lines;
    auto lost = open_host_parts(vm.config());
    REQUIRE(lost);
    const auto parts = take_over(vm, lines);
    REQUIRE(parts);
    const AlignedBuffer bytes(kDiskBytes / 2);
    REQUIRE(parts->chains[0]->layers()->write(bytes.bytes(), 0) == 0);
    auto with_agent = options(always, lines);
    with_agent.patience = std::chrono::milliseconds(1);
    with_agent.agent.emplace();
    with_agent.agent->host = "node1";
    with_agent.agent->vm = "web1";
    SECTION("once it can") {
        // The first time it fails.
        with_agent.agent->command =
            agent(vm, "echo $1 $2 >> " + vm.disk() + "-asked; test $(wc -l < " + vm.disk() +
                          "-asked) -gt 1");
        const DiskMerge merge(parts->chains, with_agent);
        CHECK(lines.come("host node1 may still write: it is ended by " + vm.disk() + "-agent"));
        CHECK(lines.come("-agent node1 failed: exit code 1: it is tried again"));
        CHECK(lines.come("host node1 was ended"));
        CHECK(lines.come("no other host can write to it any more"));
        std::ifstream asked(vm.disk() + "-asked");
        std::string line;
        REQUIRE(std::getline(asked, line));
        CHECK(line == "node1 web1");
        while (!merge.status()[0].is_whole)
            std::this_thread::yield();
        // Until the lock is this host's, the overlay's tells others that it may write.
        CHECK(std::filesystem::exists(vm.disk() + ".g3"));
        CHECK(lines.all().find("is whole again") == std::string::npos);
        lost->chains.clear();
        CHECK(lines.come("is whole again"));
        CHECK_FALSE(std::filesystem::exists(vm.disk() + ".g3"));
    }
    SECTION("unless it does not end, and then it is") {
        with_agent.agent->command = agent(vm, "sleep 1000 & wait");
        with_agent.agent->deadline = std::chrono::milliseconds(200);
        const DiskMerge merge(parts->chains, with_agent);
        CHECK(lines.come("-agent node1 did not end in time: it is tried again"));
        CHECK(std::filesystem::exists(vm.disk() + ".g3"));
    }
    SECTION("or is not there") {
        with_agent.agent->command = vm.disk() + "-none";
        const DiskMerge merge(parts->chains, with_agent);
        CHECK(lines.come("-none: No such file or directory: it is tried again"));
    }
    SECTION("but not by a host that has lost the VM too") {
        with_agent.agent->command = agent(vm, "exit 0");
        with_agent.may_act = [] { return false; };
        DiskMerge merge(parts->chains, with_agent);
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        merge.stop();
        CHECK(lines.all().find("may still write:") == std::string::npos);
    }
}

TEST_CASE("A host that lacks what the VM needs says so once, and goes on when it has it") {
    TestVm vm;
    Lines lines;
    const std::string away = vm.disk() + "-away";
    std::filesystem::rename(vm.disk(), away);
    std::thread comes([&] {
        CHECK(lines.come("the VM can not go on yet: disk"));
        std::filesystem::rename(away, vm.disk());
    });
    const auto parts = take_over(vm, lines);
    comes.join();
    REQUIRE(parts);
    CHECK(parts->disks.size() == 1);
}

TEST_CASE("Taps that can not be made ahead are tried again until it is to end") {
    TestVm vm;
    Lines lines;
    vm.config().nics.resize(1);
    vm.config().nics[0].plug = config::BridgeName{"no-such-bridge"};
    std::atomic<bool> stops{false};
    std::thread ends([&] {
        CHECK(lines.come("the VM can not go on yet: there is no bridge no-such-bridge"));
        stops = true;
    });
    TapsAhead ahead(vm.config());
    const auto parts = await_shared_parts(vm.config(), {3, false}, &ahead, stops, lines.log());
    ends.join();
    REQUIRE_FALSE(parts);
}

}  // namespace
}  // namespace ftvmm::node
