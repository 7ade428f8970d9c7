#include "cli/log_report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include <nlohmann/json.hpp>

#include "replay/record_codec.h"

namespace ftvmm::cli {

using replay::Record;

namespace {

// A log may hold any times, those that are further apart than a duration goes too.
std::chrono::nanoseconds length_between(GuestTime from, GuestTime to) {
    const auto count = [](GuestTime time) {
        return static_cast<std::uint64_t>(time.time_since_epoch().count());
    };
    return std::chrono::nanoseconds(static_cast<std::int64_t>(count(to) - count(from)));
}

}  // namespace

void LogSummarizer::add(const replay::Batch& batch) {
    ++summary_.statistics.batches;
    replay::RecordEncoder encoder;
    for (const Record& record : batch.records) {
        summary_.statistics.add(record.body.index(), encoder.add(record));
        add(record);
    }
}

void LogSummarizer::add(const Record& record) {
    const bool is_power_on = std::holds_alternative<replay::record::PowerOn>(record.body);
    if (is_power_on || summary_.lives.empty()) begin_life(record);
    LogSummary::Life& life = summary_.lives.back();
    life.exits = record.at.exits - begin_.exits;
    life.checkpoints = record.at.checkpoints - begin_.checkpoints;
    if (std::holds_alternative<replay::record::Checkpoint>(record.body)) {
        checkpoint_at_ = record.at;
    }
    if (const auto* end = std::get_if<replay::record::End>(&record.body)) life.end = end->kind;
    if (replay::input_of(record.body)) add_input(record);
}

void LogSummarizer::begin_life(const Record& record) {
    summary_.lives.emplace_back();
    begin_ = record.at;
    zero_.reset();
    // A guest that went on from somewhere had a time before; a new one began at zero.
    if (std::holds_alternative<replay::record::PowerOn>(record.body)) zero_ = GuestTime{};
    input_at_.reset();
    checkpoint_at_.reset();
}

void LogSummarizer::add_input(const Record& record) {
    if (const auto* time = std::get_if<replay::input::Time>(&record.body)) {
        if (!zero_) zero_ = time->now;
        summary_.lives.back().length = length_between(*zero_, time->now);
    }
    if (input_at_ == record.at) return;
    input_at_ = record.at;
    ++(checkpoint_at_ == record.at ? summary_.at_checkpoints : summary_.at_exits);
}

namespace {

double seconds(std::chrono::nanoseconds length) {
    return std::chrono::duration<double>(length).count();
}

struct Total {
    std::uint64_t exits = 0;
    std::uint64_t checkpoints = 0;
    double seconds = 0;
};

Total total_of(const std::vector<LogSummary::Life>& lives) {
    Total total;
    for (const LogSummary::Life& life : lives) {
        total.exits += life.exits;
        total.checkpoints += life.checkpoints;
        total.seconds += seconds(life.length);
    }
    return total;
}

struct Rates {
    double file = 0;         // Bytes in the file,
    double checkpoints = 0;  // and of checkpoints before they were packed, a second of guest time.
};

Rates rates_of(const LogReport& report) {
    static const std::size_t checkpoint_kind = replay::Body(replay::record::Checkpoint{}).index();
    const double length = total_of(report.summary.lives).seconds;
    if (length <= 0) return {};
    const auto& checkpoints = report.summary.statistics.by_kind.at(checkpoint_kind);
    return {static_cast<double>(report.tail.offset) / length,
            static_cast<double>(checkpoints.bytes) / length};
}

std::string plural(std::size_t count, std::string_view one) {
    return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

// A kind's name without spaces, for JSON.
std::string key_of_kind(std::size_t kind) {
    std::string key = replay::name_of_kind(kind);
    std::ranges::replace(key, ' ', '_');
    return key;
}

const char* name_of(replay::LogTail::Kind kind) {
    static constexpr std::array kNames{"ended", "stopped", "torn", "corrupt"};
    return kNames.at(static_cast<std::size_t>(kind));
}

// A log may hold any bytes where it says what it belongs to; `:?` makes them fit for a terminal.
void add_header(std::string& text, const replay::LogHeader& header) {
    const auto out = std::back_inserter(text);
    const auto created = std::chrono::floor<std::chrono::seconds>(header.created_at);
    fmt::format_to(out, "VM           {:?} ({:?})\n", header.vm_name, header.vm_uuid);
    fmt::format_to(out, "recorded     {:%Y-%m-%d %H:%M:%S} UTC by ftvmm {:?}\n",
                   fmt::gmtime(std::chrono::system_clock::to_time_t(created)), header.build);
    fmt::format_to(out, "machine      {} MiB, CPU model {:?}, {}, {}\n", header.memory_bytes >> 20U,
                   header.cpu_model, plural(header.disks.size(), "disk"),
                   plural(header.macs.size(), "network card"));
    fmt::format_to(out, "host         {:?}\n", header.host_cpu);
    fmt::format_to(out, "command line {:?}\n", header.command_line);
    fmt::format_to(out, "begins with  {}\n",
                   header.state_hash.empty() ? "a power-on" : "a state file");
}

nlohmann::ordered_json json_of(const replay::LogHeader& header) {
    auto disks = nlohmann::ordered_json::array();
    for (const auto& disk : header.disks) {
        disks.push_back(
            {{"bytes", disk.bytes}, {"read_only", disk.read_only}, {"hash", disk.hash}});
    }
    return {
        {"build", header.build},
        {"vm_name", header.vm_name},
        {"vm_uuid", header.vm_uuid},
        {"config_file", header.config_file},
        {"memory_bytes", header.memory_bytes},
        {"cpu_model", header.cpu_model},
        {"cpuid_hash", header.cpuid_hash},
        {"host_cpu", header.host_cpu},
        {"kernel_hash", header.kernel_hash},
        {"initrd_hash", header.initrd_hash},
        {"command_line", header.command_line},
        {"disks", disks},
        {"macs", header.macs},
        {"created_at_ns", header.created_at.time_since_epoch().count()},
        {"state_hash", header.state_hash},
    };
}

nlohmann::ordered_json json_of(const replay::LogTail& tail) {
    return {{"kind", name_of(tail.kind)}, {"offset", tail.offset}, {"why", tail.why}};
}

nlohmann::ordered_json json_of(const LogSummary::Life& life) {
    nlohmann::ordered_json json{{"exits", life.exits},
                                {"checkpoints", life.checkpoints},
                                {"guest_seconds", seconds(life.length)},
                                {"end", nullptr}};
    if (life.end) json["end"] = replay::name_of(*life.end);
    return json;
}

nlohmann::ordered_json json_of(const replay::ExitFacts& exit) {
    nlohmann::ordered_json json{
        {"reason", replay::name_of(exit.reason)}, {"where", exit.where}, {"detail", exit.detail}};
    for (std::size_t i = 0; i < exit.registers.size(); ++i)
        json["registers"][replay::kCpuRegisterNames.at(i)] = exit.registers.at(i);
    return json;
}

// Bytes that are no UTF-8 become question marks in boxes rather than an error.
std::string dump(const nlohmann::ordered_json& json, int indent) {
    return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string render_text(const LogReport& report) {
    const LogSummary& summary = report.summary;
    const auto records = summary.statistics.total();
    const Total total = total_of(summary.lives);
    std::string text;
    const auto out = std::back_inserter(text);
    add_header(text, report.header);
    fmt::format_to(
        out, "\n{}, {:.3f} s of guest time, {}, {}\n",
        summary.lives.size() == 1 ? "1 life" : fmt::format("{} lives", summary.lives.size()),
        total.seconds, plural(total.exits, "exit"), plural(total.checkpoints, "checkpoint"));
    fmt::format_to(out, "given at {} and {}\n", plural(summary.at_exits, "exit"),
                   plural(summary.at_checkpoints, "checkpoint"));
    fmt::format_to(out, "{} in {}, {} bytes, {} in the file\n", plural(records.count, "record"),
                   summary.statistics.batches == 1
                       ? "1 batch"
                       : fmt::format("{} batches", summary.statistics.batches),
                   records.bytes, report.tail.offset);
    const Rates rates = rates_of(report);
    fmt::format_to(out, "a second: {:.0f} bytes in the file, {:.0f} of checkpoints unpacked\n\n",
                   rates.file, rates.checkpoints);
    fmt::format_to(out, "{:<13} {:>12} {:>15}\n", "kind", "records", "bytes");
    for (std::size_t kind = 0; kind < replay::kRecordKinds; ++kind) {
        const auto& of_kind = summary.statistics.by_kind.at(kind);
        if (of_kind.count == 0) continue;
        fmt::format_to(out, "{:<13} {:>12} {:>15}\n", replay::name_of_kind(kind), of_kind.count,
                       of_kind.bytes);
    }
    if (!report.tail.is_damaged()) fmt::format_to(out, "\n{}\n", replay::describe(report.tail));
    return text;
}

std::string render_json(const LogReport& report) {
    const LogSummary& summary = report.summary;
    const auto records = summary.statistics.total();
    const Rates rates = rates_of(report);
    nlohmann::ordered_json json{
        {"log", report.path},
        {"header", json_of(report.header)},
        {"records", records.count},
        {"batches", summary.statistics.batches},
        {"payload_bytes", records.bytes},
        {"file_bytes", report.tail.offset},
        {"file_bytes_per_second", rates.file},
        {"checkpoint_bytes_per_second", rates.checkpoints},
        {"kinds", nlohmann::ordered_json::object()},
        {"landmarks", {{"exits", summary.at_exits}, {"checkpoints", summary.at_checkpoints}}},
        {"lives", nlohmann::ordered_json::array()},
        {"tail", json_of(report.tail)},
    };
    for (std::size_t kind = 0; kind < replay::kRecordKinds; ++kind) {
        const auto& of_kind = summary.statistics.by_kind.at(kind);
        json["kinds"][key_of_kind(kind)] = {{"records", of_kind.count}, {"bytes", of_kind.bytes}};
    }
    for (const LogSummary::Life& life : summary.lives)
        json["lives"].push_back(json_of(life));
    return dump(json, 2);
}

std::string render_verdict(const LogReport& report) {
    const auto records = plural(report.summary.statistics.total().count, "record");
    return fmt::format("{}: {}, with {}{}\n", report.path, replay::describe(report.tail), records,
                       report.tail.is_damaged() ? " before it" : "");
}

std::string render_verdict_json(const LogReport& report) {
    const auto& statistics = report.summary.statistics;
    const nlohmann::ordered_json json{
        {"log", report.path},
        {"records", statistics.total().count},
        {"batches", statistics.batches},
        {"file_bytes", report.tail.offset},
        {"tail", json_of(report.tail)},
    };
    return dump(json, 2);
}

std::string render_text(replay::Seq seq, const Record& record) {
    return fmt::format("{:>10}  {:<28} {:04x}  {}\n", seq.value(), replay::describe(record.at),
                       record.digest, replay::describe(record.body));
}

std::string render_json(replay::Seq seq, const Record& record) {
    nlohmann::ordered_json json{
        {"seq", seq.value()},
        {"exits", record.at.exits},
        {"checkpoints", record.at.checkpoints},
        {"digest", fmt::format("{:04x}", record.digest)},
        {"kind", key_of_kind(record.body.index())},
        {"text", replay::describe(record.body)},
        {"data_bytes", replay::blob_bytes(record.body)},
    };
    if (const auto* time = std::get_if<replay::input::Time>(&record.body)) {
        json["time_ns"] = time->now.time_since_epoch().count();
    }
    if (const auto* trace = std::get_if<replay::record::Trace>(&record.body)) {
        json["exit"] = json_of(trace->exit);
    }
    return dump(json, -1);
}

}  // namespace ftvmm::cli
