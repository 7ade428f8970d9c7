#include "cli/log_report.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ftvmm::cli {
namespace {

using namespace std::chrono_literals;
using replay::Record;
using replay::Seq;
namespace input = replay::input;
namespace record = replay::record;

input::Time time_at(GuestTime::duration time) {
    return {GuestTime(time)};
}

Record checkpoint_at(replay::Landmark at) {
    return {at, 0, record::Checkpoint{}};
}

// Two lives: of 20 exits and 1.5 s, and of 3 exits and 0.25 s.
LogSummary two_lives() {
    LogSummarizer summarizer;
    summarizer.add({Seq(0),
                    {
                        {{}, 0, record::PowerOn{std::vector<std::byte>(32)}},
                        {{}, 0, input::WallClock{}},
                        {{10, 0}, 0, time_at(1s)},
                        {{10, 0}, 0, input::PowerButton{}},
                        checkpoint_at({10, 1}),
                        {{10, 1}, 0, input::PowerButton{}},
                        {{10, 1}, 0, input::PowerButton{}},
                    }});
    summarizer.add({Seq(7),
                    {
                        {{20, 1}, 0, time_at(1500ms)},
                        {{20, 1}, 0, record::End{record::EndKind::kReset, 0}},
                        {{}, 0, record::PowerOn{}},
                        {{3, 0}, 0, time_at(250ms)},
                        {{3, 0}, 0, record::Mark{}},
                    }});
    return summarizer.summary();
}

LogReport report_of_two_lives() {
    LogReport report;
    report.path = "vm.log";
    report.header.vm_name = "mail";
    report.header.command_line = "a \033[31mred\n line";
    report.summary = two_lives();
    report.tail = {replay::LogTail::Kind::kStopped, 700, ""};
    return report;
}

}  // namespace

TEST_CASE("A log's lives have their exits, checkpoints and guest time, from zero each") {
    const auto summary = two_lives();
    REQUIRE(summary.lives.size() == 2);
    CHECK(summary.lives[0].exits == 20);
    CHECK(summary.lives[0].checkpoints == 1);
    CHECK(summary.lives[0].length == 1500ms);
    CHECK(summary.lives[0].end == record::EndKind::kReset);
    CHECK(summary.lives[1].exits == 3);
    CHECK(summary.lives[1].checkpoints == 0);
    CHECK(summary.lives[1].length == 250ms);
    CHECK(!summary.lives[1].end);
}

TEST_CASE("A log that begins in the middle of a life counts from there") {
    LogSummarizer summarizer;
    summarizer.add({Seq(0), {{{1000, 7}, 0, time_at(60s)}, {{1010, 9}, 0, time_at(61s)}}});
    const auto& lives = summarizer.summary().lives;
    REQUIRE(lives.size() == 1);
    CHECK(lives[0].exits == 10);
    CHECK(lives[0].checkpoints == 2);
    CHECK(lives[0].length == 1s);
}

TEST_CASE("Landmarks at which the guest is given something count once, by what made them") {
    const auto summary = two_lives();
    CHECK(summary.at_exits == 4);  // 0, 10, 20, and 3 of the next life.
    CHECK(summary.at_checkpoints == 1);
    CHECK(summary.statistics.total().count == 12);
    CHECK(summary.statistics.batches == 2);
}

TEST_CASE("Times that are further apart than any are no trouble") {
    LogSummarizer summarizer;
    summarizer.add({Seq(0),
                    {{{1, 0}, 0, time_at(GuestTime::duration::min())},
                     {{2, 0}, 0, time_at(GuestTime::duration::max())}}});
    CHECK(summarizer.summary().lives.size() == 1);
}

TEST_CASE("The text holds the log's figures and nothing that moves a terminal's cursor") {
    const std::string text = render_text(report_of_two_lives());
    CHECK_THAT(text, Catch::Contains("\n2 lives, 1.750 s of guest time, 23 exits, 1 checkpoint\n"));
    CHECK_THAT(text, Catch::Contains("given at 4 exits and 1 checkpoint\n"));
    CHECK_THAT(text, Catch::Contains("12 records in 2 batches, "));
    CHECK_THAT(text, Catch::Contains(", 700 in the file\n"));
    CHECK_THAT(text, Catch::Contains("\na second: 400 bytes in the file, "));
    CHECK_THAT(text, Catch::Contains("power button             3 "));
    CHECK_THAT(text, Catch::Contains("the log holds no end: its writer was stopped at byte 700"));
    CHECK(text.find("packet") == std::string::npos);
    CHECK(text.find('\033') == std::string::npos);
}

TEST_CASE("The JSON parses and holds the same figures, whatever bytes the log holds") {
    auto report = report_of_two_lives();
    report.header.vm_name = "\xff";
    const auto json = nlohmann::json::parse(render_json(report));
    CHECK(json["log"] == "vm.log");
    CHECK(json["records"] == 12);
    CHECK(json["kinds"]["power_button"]["records"] == 3);
    CHECK(json["kinds"]["packet"]["records"] == 0);
    CHECK(json["landmarks"]["exits"] == 4);
    CHECK(json["lives"][0]["end"] == "reset");
    CHECK(json["lives"][1]["end"].is_null());
    CHECK(json["lives"][0]["guest_seconds"] == 1.5);
    CHECK(json["tail"]["kind"] == "stopped");
    CHECK(json["tail"]["offset"] == 700);
    CHECK(json["file_bytes_per_second"] == 400);
    CHECK(json["checkpoint_bytes_per_second"] ==
          json["kinds"]["checkpoint"]["bytes"].get<double>() / 1.75);
}

TEST_CASE("A damaged log's verdict names the place and what is whole") {
    auto report = report_of_two_lives();
    CHECK(render_verdict(report) ==
          "vm.log: the log holds no end: its writer was stopped at byte 700, with 12 records\n");
    report.tail = {replay::LogTail::Kind::kCorrupt, 700, "no batch begins there"};
    CHECK(render_verdict(report) ==
          "vm.log: the log is damaged at byte 700: no batch begins there, with 12 records before "
          "it\n");
    const auto json = nlohmann::json::parse(render_verdict_json(report));
    CHECK(json["tail"]["kind"] == "corrupt");
    CHECK(json["tail"]["why"] == "no batch begins there");
}

TEST_CASE("A record is a line, for people and for programs") {
    const Record packet{{812, 3}, 0x1a2b, record::Packet{1, std::vector<std::byte>(60)}};
    CHECK(render_text(Seq(17), packet) ==
          "        17  exit 812, checkpoint 3       1a2b  packet of 60 bytes for card 1\n");
    const auto json = nlohmann::json::parse(render_json(Seq(17), packet));
    CHECK(json["seq"] == 17);
    CHECK(json["exits"] == 812);
    CHECK(json["checkpoints"] == 3);
    CHECK(json["digest"] == "1a2b");
    CHECK(json["kind"] == "packet");
    CHECK(json["data_bytes"] == 60);
    const Record time{{1, 0}, 0, time_at(5ms)};
    CHECK(nlohmann::json::parse(render_json(Seq(0), time))["time_ns"] == 5'000'000);
    CHECK(render_json(Seq(0), time).find('\n') == render_json(Seq(0), time).size() - 1);
    CHECK_FALSE(json.contains("exit"));
    replay::ExitFacts exit{replay::ExitReason::kOut, 0x3f8, 1, {}};
    exit.registers.at(replay::kRip) = 0x1234;
    const Record trace{{1, 0}, 0, record::Trace{exit}};
    CHECK(render_text(Seq(5), trace) ==
          "         5  exit 1                       0000  trace of out 0x3f8, rip "
          "0000000000001234\n");
    const auto traced = nlohmann::json::parse(render_json(Seq(5), trace))["exit"];
    CHECK(traced["reason"] == "out");
    CHECK(traced["where"] == 0x3f8);
    CHECK(traced["detail"] == 1);
    CHECK(traced["registers"]["rip"] == 0x1234);
    CHECK(traced["registers"]["gs.base"] == 0);
}

}  // namespace ftvmm::cli
