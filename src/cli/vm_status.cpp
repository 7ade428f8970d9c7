#include "cli/vm_status.h"

#include <chrono>
#include <cstdint>

#include <nlohmann/json.hpp>

namespace ftvmm::cli {

namespace {

using Json = nlohmann::ordered_json;
using pair::Protection;

double ms(std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count();
}

Json text_or_null(const std::string& text) {
    return text.empty() ? Json() : Json(text);
}

Json generation_or_null(Generation generation) {
    return generation == Generation() ? Json() : Json(generation.value());
}

const char* role_of(const VmStatus& status) {
    if (status.secondary) return "secondary";
    if (status.primary && status.primary->protection == Protection::kSuperseded) {
        return "superseded";
    }
    switch (status.phase) {
        case VmStatus::Phase::kStarts:
            return "starting";
        case VmStatus::Phase::kRuns:
            return "primary";
        case VmStatus::Phase::kHasEnded:
            return "ended";
    }
    return "?";
}

Json hold_of(const Durations& holds) {
    const auto count = static_cast<double>(holds.count());
    return {{"count", holds.count()},
            {"mean_ms", holds.count() == 0 ? 0 : ms(holds.sum()) / count},
            {"p50_ms", ms(holds.percentile(50))},
            {"p99_ms", ms(holds.percentile(99))},
            {"longest_ms", ms(holds.most())}};
}

Json paths_of(const std::vector<pair::PathStatus>& paths) {
    if (paths.empty()) return {};
    Json json = Json::array();
    for (const pair::PathStatus& path : paths) {
        json.push_back({{"name", path.name},
                        {"state", name_of(path.state)},
                        {"heard_ms_ago", path.heard_ago ? Json(ms(*path.heard_ago)) : Json()},
                        {"sent", path.sent},
                        {"taken", path.taken},
                        {"refused", path.refused}});
    }
    return json;
}

const char* state_of(const node::DiskLayers& disk) {
    if (disk.is_whole) return "whole";
    return disk.is_settled ? "merges" : "waits for the lost host";
}

Json disks_of(const std::vector<node::DiskLayers>& disks) {
    Json json = Json::array();
    for (const node::DiskLayers& disk : disks) {
        json.push_back({{"disk", disk.disk},
                        {"state", state_of(disk)},
                        {"overlay", disk.is_whole ? Json() : Json(disk.overlay)},
                        {"left_bytes", disk.left_bytes}});
    }
    return json;
}

void tell(Json& json, const pair::PrimaryStatus& primary) {
    json["protection"] = name_of(primary.protection);
    json["peer"] = text_or_null(primary.secondary);
    json["paths"] = paths_of(primary.paths);
    json["hold"] = hold_of(primary.holds);
    json["counts"] = {
        {"clones", primary.clones}, {"lost", primary.lost}, {"diverged", primary.diverged}};
    json["duty_percent"] = 100;
    if (primary.protection == Protection::kClones) {
        const pair::CloneProgress& clone = primary.clone;
        json["clone"] = {{"round", clone.round},
                         {"round_done", clone.round_done},
                         {"round_pages", clone.round_pages},
                         {"pages", clone.pages},
                         {"bytes", clone.bytes}};
        json["duty_percent"] = clone.duty_percent;
    }
    if (primary.protection == Protection::kProtected) {
        json["vlockstep_interval_ms"] = {{"now", ms(primary.link.lag)},
                                         {"average", ms(primary.recent.lag())}};
        json["log"] = {{"mbit_per_s", primary.recent.log_bits_per_s() / 1e6},
                       {"bytes", primary.link.log_bytes}};
        json["duty_percent"] = primary.link.duty_percent;
    }
}

void tell(Json& json, const pair::SecondaryStatus& secondary) {
    using Step = pair::SecondaryStatus::Step;
    json["protection"] = name_of(secondary.step);
    json["peer"] = text_or_null(secondary.primary);
    json["paths"] = paths_of(secondary.paths);
    if (!secondary.trouble.empty()) json["trouble"] = secondary.trouble;
    json["protected_in"] = generation_or_null(secondary.protected_in);
    if (secondary.step == Step::kClones) {
        json["clone"] = {{"round", secondary.round},
                         {"round_done", nullptr},
                         {"round_pages", secondary.round_pages},
                         {"pages", secondary.pages},
                         {"bytes", nullptr}};
    }
    if (secondary.step == Step::kProtected || secondary.step == Step::kContests) {
        json["records_behind"] = secondary.next_received - secondary.next_replayed;
    }
}

}  // namespace

void add_lease(VmStatus& status, const lock::Ownership& ownership) {
    status.generation = ownership.generation();
    status.trouble = ownership.trouble();
    const Instant now = SystemClock().now();
    // Far-off instants can not be subtracted from.
    const Instant until = ownership.holds_until();
    if (until > now) status.lease_left = until - now;
}

std::string render_json(const VmStatus& status) {
    Json json = {{"name", status.name},
                 {"uuid", status.uuid},
                 {"host", status.host},
                 {"role", role_of(status)},
                 {"protection", "not protected"},
                 {"peer", nullptr},
                 {"paths", nullptr},
                 {"generation", generation_or_null(status.generation)},
                 {"lease_left_s", nullptr},
                 {"trouble", text_or_null(status.trouble)},
                 {"disks_in_layers", nullptr},
                 {"vlockstep_interval_ms", nullptr},
                 {"log", nullptr},
                 {"hold", nullptr},
                 {"duty_percent", nullptr},
                 {"clone", nullptr},
                 {"counts", nullptr},
                 {"records_behind", nullptr},
                 {"protected_in", nullptr}};
    if (status.lease_left) {
        json["lease_left_s"] = std::chrono::duration<double>(*status.lease_left).count();
    }
    if (!status.disks.empty()) json["disks_in_layers"] = disks_of(status.disks);
    if (status.primary) tell(json, *status.primary);
    if (status.secondary) tell(json, *status.secondary);
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ftvmm::cli
