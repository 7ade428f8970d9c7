// What `ftvmm lease` tells of a shared folder that an owner has written.
#include "cli/lease_report.h"

#include <atomic>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "lock/ownership_driver.h"
#include "temp_folder.h"

using namespace ftvmm;
using nlohmann::json;

namespace {

// A VM that alpha owned in generations 1 and 2 and has ended.
void own(const testing::TempFolder& folder, const VmUuid& vm) {
    lock::OwnershipOptions options;
    options.folder = folder.file("");
    options.vm = vm;
    options.host = "alpha";
    options.boot_id = "boot-1";
    const std::atomic<bool> goes_on{false};
    const auto ownership = lock::Ownership::open(options).value();
    REQUIRE(ownership->cold_start(goes_on, {}));
    REQUIRE(ownership->contest(goes_on));
    REQUIRE(ownership->end());
}

void put(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("A VM that never ran has no owner") {
    const testing::TempFolder folder;
    const auto report = cli::read_lease(folder.file(""), {});
    REQUIRE(report);
    CHECK_THAT(cli::render_text(*report), Catch::Contains("the VM has never run"));
    const auto told = json::parse(cli::render_json(*report));
    CHECK(told["generation"] == 0);
    CHECK(told["owner"].is_null());
    CHECK(told["record"].is_null());
    CHECK(folder.files() == 0);
}

TEST_CASE("The owner, its record and who bids for the next generation are told") {
    const testing::TempFolder folder;
    const VmUuid vm{7};
    own(folder, vm);
    const lock::Claim bid{
        .vm = vm, .generation = Generation(3), .nonce = {9}, .host = "beta", .boot_id = "boot-2"};
    put(folder.file(lock::claim_file(bid)), lock::encode_claim(bid));
    const auto report = cli::read_lease(folder.file(""), vm);
    REQUIRE(report);
    CHECK(report->damage.empty());
    const auto told = json::parse(cli::render_json(*report));
    CHECK(told["generation"] == 2);
    CHECK(told["owner"]["host"] == "alpha");
    CHECK(told["owner"]["boot_id"] == "boot-1");
    CHECK(told["record"]["generation"] == 2);
    CHECK(told["record"]["state"] == "ended");
    // In the order of their nonces, of which alpha's may be any.
    CHECK(std::ranges::count(report->bids, "alpha", &lock::Claim::host) == 1);
    CHECK(told["bids"].size() == 2);
    CHECK(std::ranges::count(report->bids, bid) == 1);
    const std::string text = cli::render_text(*report);
    for (const char* part : {"generation 2\n", "host       alpha\n", "state      ended\n",
                             "bids next  beta, boot id boot-2\n"})
        CHECK_THAT(text, Catch::Contains(part));
}

TEST_CASE("The history has every generation in order, and says which are damaged") {
    const testing::TempFolder folder;
    const VmUuid vm{7};
    own(folder, vm);
    put(folder.file("gen-10"), "torn");
    put(folder.file("gen-x"), "none");
    const auto history = cli::read_lease_history(folder.file(""), vm);
    REQUIRE(history);
    REQUIRE(history->damage.size() == 1);
    CHECK_THAT(history->damage[0], Catch::StartsWith("gen-10: it does not begin with"));
    const auto told = json::parse(cli::render_json(*history));
    REQUIRE(told["generations"].size() == 3);
    CHECK(told["generations"][0]["generation"] == 1);
    CHECK(told["generations"][1]["owner"]["host"] == "alpha");
    CHECK(told["generations"][2]["generation"] == 10);
    CHECK(told["generations"][2]["owner"].is_null());
    CHECK_THAT(cli::render_text(*history), Catch::Contains("damaged\n"));
}

TEST_CASE("Files of another VM are not taken for this one's") {
    const testing::TempFolder folder;
    own(folder, VmUuid{7});
    const auto report = cli::read_lease(folder.file(""), VmUuid{8});
    REQUIRE(report);
    CHECK(!report->owner);
    CHECK(!report->record);
    CHECK(report->damage.size() >= 2);
    CHECK(report->damage[0] == "gen-2: it is of another VM");
}
