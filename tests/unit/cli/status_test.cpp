// What `ftvmm status` tells of values that are given.
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "cli/status_report.h"
#include "cli/vm_status.h"

using namespace ftvmm;
using namespace ftvmm::cli;
using Catch::Matchers::Contains;
using nlohmann::json;
using std::chrono::milliseconds;

namespace {

VmStatus running() {
    VmStatus status;
    status.name = "web1";
    status.uuid = "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67";
    status.host = "node1";
    status.phase = VmStatus::Phase::kRuns;
    return status;
}

VmStatus protected_primary() {
    VmStatus status = running();
    status.generation = Generation(3);
    status.lease_left = milliseconds(12'500);
    pair::PrimaryStatus primary;
    primary.protection = pair::Protection::kProtected;
    primary.secondary = "node2";
    primary.link.lag = milliseconds(9);
    primary.link.log_bytes = 4'000'000;
    primary.link.duty_percent = 60;
    // 1 MB each second, 7 ms behind.
    for (std::uint64_t i = 0; i < 3; ++i)
        primary.recent.look(Instant(std::chrono::seconds(i)), milliseconds(7), 1'000'000 * i);
    for (int i = 0; i < 98; ++i)
        primary.holds.add(milliseconds(1));
    primary.holds.add(milliseconds(50));
    primary.holds.add(milliseconds(100));
    primary.clones = 2;
    primary.lost = 1;
    primary.diverged = 1;
    status.primary = primary;
    return status;
}

VmStatus secondary() {
    VmStatus status = running();
    status.host = "node2";
    status.phase = VmStatus::Phase::kStarts;
    status.secondary.emplace();
    return status;
}

json document_of(const VmStatus& status) {
    return json::parse(render_json(status));
}

StatusAnswer answer_of(const VmStatus& status) {
    StatusAnswer answer;
    answer.name = status.name;
    answer.document = render_json(status);
    return answer;
}

std::string details_of(const VmStatus& status) {
    return render_details(answer_of(status));
}

}  // namespace

TEST_CASE("A VM without a pair is a Primary that is not protected") {
    const json told = document_of(running());
    CHECK(told["name"] == "web1");
    CHECK(told["uuid"] == "0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67");
    CHECK(told["host"] == "node1");
    CHECK(told["role"] == "primary");
    CHECK(told["protection"] == "not protected");
    for (const char* key : {"peer", "paths", "generation", "lease_left_s", "trouble",
                            "disks_in_layers", "vlockstep_interval_ms", "log", "hold",
                            "duty_percent", "clone", "counts", "records_behind", "protected_in"}) {
        INFO(key);
        REQUIRE(told.contains(key));
        CHECK(told[key].is_null());
    }
}

TEST_CASE("A VM that starts or has ended is said to, with what the storage says") {
    VmStatus status = running();
    status.phase = VmStatus::Phase::kStarts;
    status.trouble = "the storage does not answer";
    CHECK(document_of(status)["role"] == "starting");
    CHECK(document_of(status)["trouble"] == "the storage does not answer");
    CHECK_THAT(details_of(status), Contains("trouble             the storage does not answer\n"));
    CHECK(document_of(status)["disks_in_layers"].is_null());
    constexpr std::uint64_t kLeft = 3U << 19U;
    status.disks = {{"/vms/a", "/vms/a.g4", false, false, kLeft},
                    {"/vms/b", "/vms/b.g4", false, true, kLeft},
                    {"/vms/c", "/vms/c.g4", true, true, 0}};
    const auto disks = document_of(status)["disks_in_layers"];
    CHECK(disks[0]["state"] == "waits for the lost host");
    CHECK(disks[0]["overlay"] == "/vms/a.g4");
    CHECK(disks[1]["left_bytes"] == kLeft);
    CHECK(disks[2]["overlay"].is_null());
    CHECK_THAT(details_of(status),
               Contains("disk                /vms/b: merges, 1.5 MiB left in /vms/b.g4\n") &&
                   Contains("disk                /vms/c: whole\n"));
    status.phase = VmStatus::Phase::kHasEnded;
    CHECK(document_of(status)["role"] == "ended");
}

TEST_CASE("A protected Primary tells its lag, its log, what outputs wait and how it is slowed") {
    const json told = document_of(protected_primary());
    CHECK(told["role"] == "primary");
    CHECK(told["protection"] == "protected");
    CHECK(told["peer"] == "node2");
    CHECK(told["generation"] == 3);
    CHECK(told["lease_left_s"] == 12.5);
    CHECK(told["vlockstep_interval_ms"]["now"] == 9.0);
    CHECK(told["vlockstep_interval_ms"]["average"].get<double>() == Approx(7));
    CHECK(told["log"]["mbit_per_s"].get<double>() == Approx(8));
    CHECK(told["log"]["bytes"] == 4'000'000);
    CHECK(told["hold"]["count"] == 100);
    CHECK(told["hold"]["mean_ms"].get<double>() == Approx(2.48));
    CHECK(told["hold"]["p50_ms"].get<double>() == Approx(1).epsilon(0.13));
    CHECK(told["hold"]["p99_ms"].get<double>() == Approx(50).epsilon(0.13));
    CHECK(told["hold"]["longest_ms"] == 100.0);
    CHECK(told["duty_percent"] == 60);
    CHECK(told["counts"] == json({{"clones", 2}, {"lost", 1}, {"diverged", 1}}));
    CHECK(told["clone"].is_null());
    CHECK(told["records_behind"].is_null());
}

TEST_CASE("A Primary without a Secondary tells no figures of the last one") {
    VmStatus status = protected_primary();
    status.primary->protection = pair::Protection::kNeedsSecondary;
    status.primary->secondary.clear();
    const json told = document_of(status);
    CHECK(told["protection"] == "needs a Secondary");
    CHECK(told["peer"].is_null());
    CHECK(told["vlockstep_interval_ms"].is_null());
    CHECK(told["log"].is_null());
    CHECK(told["duty_percent"] == 100);
    CHECK(told["hold"]["count"] == 100);
}

TEST_CASE("A Primary that held no output has waited for none") {
    VmStatus status = running();
    status.primary.emplace();
    const json told = document_of(status);
    CHECK(
        told["hold"] ==
        json(
            {{"count", 0}, {"mean_ms", 0}, {"p50_ms", 0.0}, {"p99_ms", 0.0}, {"longest_ms", 0.0}}));
}

TEST_CASE("A Primary that clones tells how far it has come") {
    VmStatus status = running();
    status.primary.emplace();
    status.primary->protection = pair::Protection::kClones;
    status.primary->secondary = "node2";
    status.primary->clone.round = 2;
    status.primary->clone.round_pages = 1000;
    status.primary->clone.round_done = 250;
    status.primary->clone.pages = 33'000;
    status.primary->clone.bytes = 77'000'000;
    status.primary->clone.duty_percent = 45;
    const json told = document_of(status);
    CHECK(told["protection"] == "clones");
    CHECK(told["duty_percent"] == 45);
    CHECK(told["clone"] == json({{"round", 2},
                                 {"round_done", 250},
                                 {"round_pages", 1000},
                                 {"pages", 33'000},
                                 {"bytes", 77'000'000}}));
    CHECK_THAT(details_of(status), Contains("protection          clones, round 2: 25 %\n"));
    CHECK_THAT(details_of(status), Contains("in all 33000 pages, 77000000 bytes\n"));
}

TEST_CASE("Each path to the other host is told, with what came on it, a line each") {
    const std::vector<pair::PathStatus> paths{
        {.name = "link", .state = pair::PathStatus::State::kHeard, .heard_ago = milliseconds(7)},
        {.name = "10.77.2.11 to 10.77.2.12",
         .state = pair::PathStatus::State::kSilent,
         .heard_ago = milliseconds(5012),
         .sent = 400,
         .taken = 300,
         .refused = 2},
        {.name = "10.77.1.11 to 10.77.1.12", .sent = 3}};
    VmStatus primary = protected_primary();
    primary.primary->paths = paths;
    VmStatus follower = secondary();
    follower.secondary->paths = paths;
    for (const VmStatus& status : {primary, follower}) {
        const json told = document_of(status)["paths"];
        REQUIRE(told.size() == 3);
        CHECK(told[1] == json({{"name", "10.77.2.11 to 10.77.2.12"},
                               {"state", "silent"},
                               {"heard_ms_ago", 5012.0},
                               {"sent", 400},
                               {"taken", 300},
                               {"refused", 2}}));
        CHECK(told[2]["heard_ms_ago"].is_null());
        CHECK_THAT(details_of(status), Contains("  path                link: heard 7 ms ago\n"));
        CHECK_THAT(details_of(status),
                   Contains("10.77.2.11 to 10.77.2.12: silent, heard 5012 ms ago; 400 beats sent, "
                            "300 came, 2 refused\n"));
        CHECK_THAT(details_of(status), Contains("10.77.1.12: not heard yet; 3 beats sent, "));
    }
    CHECK(document_of(protected_primary())["paths"].is_null());
}

TEST_CASE("A host that lost the VM to another is superseded") {
    VmStatus status = protected_primary();
    status.primary->protection = pair::Protection::kSuperseded;
    CHECK(document_of(status)["role"] == "superseded");
    CHECK(document_of(status)["protection"] == "stopped: another host owns the VM");
}

TEST_CASE("A Secondary tells its Primary, and how far it is behind the log") {
    VmStatus status = secondary();
    status.secondary->step = pair::SecondaryStatus::Step::kProtected;
    status.secondary->primary = "node1";
    status.secondary->protected_in = Generation(4);
    status.secondary->next_received = replay::Seq(900);
    status.secondary->next_replayed = replay::Seq(812);
    const json told = document_of(status);
    CHECK(told["role"] == "secondary");
    CHECK(told["protection"] == "protected");
    CHECK(told["peer"] == "node1");
    CHECK(told["records_behind"] == 88);
    CHECK(told["protected_in"] == 4);
    CHECK(told["hold"].is_null());
    CHECK_THAT(details_of(status), Contains("Primary VM on       node1\n"));
    CHECK_THAT(details_of(status), Contains("behind the log      88 records\n"));
}

TEST_CASE("A Secondary without a Primary says why, and one that clones how far it has come") {
    VmStatus status = secondary();
    status.secondary->trouble = "connecting to node1: Connection refused";
    json told = document_of(status);
    CHECK(told["protection"] == "needs a Primary");
    CHECK(told["trouble"] == "connecting to node1: Connection refused");
    CHECK(told["records_behind"].is_null());
    status.secondary->trouble.clear();
    status.secondary->step = pair::SecondaryStatus::Step::kClones;
    status.secondary->round = 1;
    status.secondary->round_pages = 32'768;
    status.secondary->pages = 5000;
    told = document_of(status);
    CHECK(told["protection"] == "clones");
    CHECK(told["clone"]["round"] == 1);
    CHECK(told["clone"]["pages"] == 5000);
    CHECK(told["clone"]["round_done"].is_null());
    CHECK_THAT(details_of(status), Contains("protection          clones, round 1\n"));
    status.secondary->step = pair::SecondaryStatus::Step::kContests;
    CHECK_THAT(document_of(status)["protection"].get<std::string>(),
               Contains("has lost its Primary"));
}

TEST_CASE("The table has a line for each VM, as wide as what is in it") {
    StatusAnswer gone;
    gone.name = "db";
    gone.problem = "/run/ftvmm/db.sock: its run is gone";
    gone.is_gone = true;
    StatusAnswer silent;
    silent.name = "mail";
    silent.problem = "/run/ftvmm/mail.sock: its run does not answer";
    VmStatus alone = running();
    alone.name = "a-longer-name";
    const std::vector<StatusAnswer> answers{answer_of(protected_primary()), answer_of(alone), gone,
                                            silent};
    CHECK(render_table(answers) ==
          "NAME           ROLE     PROTECTION     PEER   GENERATION  LAG     LOG         HOLD     "
          "THROTTLE\n"
          "web1           primary  protected      node2  3           7.0 ms  8.0 Mbit/s  53.2 ms  "
          "runs 60 %\n"
          "a-longer-name  primary  not protected  -      -           -       -           -        "
          "-\n"
          "db             gone     -              -      -           -       -           -        "
          "-\n"
          "mail           silent   -              -      -           -       -           -        "
          "-\n");
    CHECK(render_table({}) ==
          "NAME  ROLE  PROTECTION  PEER  GENERATION  LAG  LOG  HOLD  THROTTLE\n");
}

TEST_CASE("All that a Primary tells is in its lines") {
    CHECK_THAT(details_of(protected_primary()),
               Contains("web1 (0b9ad6a5-9b5c-4d8c-8d3a-5f1b64a54a67)\n"
                        "  role                primary, on node1\n"
                        "  protection          protected\n"
                        "  Secondary VM on     node2\n"
                        "  generation          3\n"
                        "  storage lease       held for 12.5 s yet\n"
                        "  vLockstep interval  7.0 ms, now 9.0 ms\n"
                        "  log bandwidth       8.0 Mbit/s, 4000000 bytes in all\n"
                        "  outputs held        100: mean 2.48, p50 1.0"));
    CHECK_THAT(details_of(protected_primary()),
               Contains("longest 100.00 ms\n"
                        "  throttle            runs 60 %\n"
                        "  Secondaries         2 came, 1 lost, 1 of them diverged\n"));
}

TEST_CASE("A document of another version is shown as far as it goes") {
    StatusAnswer answer;
    for (const char* text :
         {"{}", "[]", "7", R"({"name": 7, "clone": [], "log": "x", "hold": {}})"}) {
        answer.document = text;
        CHECK_THAT(render_table({&answer, 1}), Contains("-"));
        CHECK_THAT(render_details(answer), Contains("role"));
    }
}

TEST_CASE("All documents are one array, with an object for who does not answer") {
    StatusAnswer silent;
    silent.name = "mail";
    silent.problem = "its run does not answer";
    const std::vector<StatusAnswer> answers{answer_of(running()), silent};
    const json told = json::parse(render_documents(answers));
    REQUIRE(told.size() == 2);
    CHECK(told[0] == document_of(running()));
    CHECK(told[1] == json({{"name", "mail"}, {"problem", "its run does not answer"}}));
    CHECK(json::parse(render_documents({})) == json::array());
}
