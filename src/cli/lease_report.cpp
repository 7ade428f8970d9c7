#include "cli/lease_report.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string_view>

#include <nlohmann/json.hpp>

#include "lock/fields.h"
#include "lock/storage_driver.h"
#include "pki/certificate_facts.h"

namespace ftvmm::cli {

namespace {

using Json = nlohmann::ordered_json;

// What is in a file; nothing if there is none.
Result<std::optional<std::string>> read_file(lock::StorageDriver& storage,
                                             const std::string& name) {
    const lock::Reply reply = storage.ask_and_wait(lock::request::Read{name});
    if (const auto* content = std::get_if<lock::reply::Content>(&reply)) return content->text;
    if (std::holds_alternative<lock::reply::Missing>(reply)) return std::nullopt;
    const auto* unknown = std::get_if<lock::reply::Unknown>(&reply);
    return fail(unknown != nullptr ? unknown->why : name);
}

// Reads files of one VM and gathers what is wrong with them.
class LeaseReader {
  public:
    LeaseReader(std::unique_ptr<lock::StorageDriver> storage, const VmUuid& vm)
        : storage_(std::move(storage)), vm_(vm) {}

    Result<Generation> newest() {
        const lock::Reply reply = storage_->ask_and_wait(lock::request::FindNewest{});
        if (const auto* newest = std::get_if<lock::reply::Newest>(&reply)) {
            return newest->generation;
        }
        const auto* unknown = std::get_if<lock::reply::Unknown>(&reply);
        return fail(unknown != nullptr ? unknown->why : "the generations can not be read");
    }
    // Nothing if there is no such file, or none that is whole.
    Result<std::optional<lock::Claim>> claim(const std::string& name, Generation generation) {
        FTVMM_ASSIGN(auto claim, decoded(name, &lock::decode_claim));
        if (claim && claim->generation != generation) {
            damage_.push_back(
                fmt::format("{}: it is of generation {}", name, claim->generation.value()));
            claim.reset();
        }
        return claim;
    }
    Result<std::optional<lock::OwnerRecord>> record(Generation generation) {
        return decoded(lock::owner_record_file(generation), &lock::decode_owner_record);
    }
    [[nodiscard]] std::vector<std::string> take_damage() { return std::move(damage_); }

  private:
    template <class Kind>
    Result<std::optional<Kind>> decoded(const std::string& name,
                                        Result<Kind> (*decode)(std::string_view)) {
        FTVMM_ASSIGN(const auto text, read_file(*storage_, name));
        if (!text) return std::nullopt;
        const auto kind = decode(*text);
        if (kind && kind->vm == vm_) return *kind;
        damage_.push_back(
            fmt::format("{}: {}", name, kind ? "it is of another VM" : kind.error().what()));
        return std::nullopt;
    }

    std::unique_ptr<lock::StorageDriver> storage_;
    VmUuid vm_;
    std::vector<std::string> damage_;
};

Result<LeaseReader> open(const std::string& folder, const VmUuid& vm) {
    FTVMM_ASSIGN(auto storage, lock::StorageDriver::open({.folder = folder}));
    return LeaseReader(std::move(storage), vm);
}

// The names in `folder` that begin so, in no order.
Result<std::vector<std::string>> names_in(const std::string& folder, std::string_view begin) {
    std::vector<std::string> names;
    std::error_code error;
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
         at.increment(error)) {
        std::string name = at->path().filename().string();
        if (name.starts_with(begin)) names.push_back(std::move(name));
    }
    if (error) return Failure(Error::from_errno(error.value(), folder));
    return names;
}

// Nothing ever changes a gen-<n> but the link that gives it that name.
Result<std::chrono::sys_seconds> time_of(const std::string& path) {
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0) return Failure(Error::from_errno(errno, path));
    return std::chrono::sys_seconds(std::chrono::seconds(facts.st_ctim.tv_sec));
}

std::string dump(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json json_of(const lock::Claim& claim) {
    return {{"host", claim.host}, {"boot_id", claim.boot_id}, {"nonce", lock::to_hex(claim.nonce)}};
}

const char* state_of(const lock::OwnerRecord& record) {
    return record.ended ? "ended" : "runs";
}

}  // namespace

Result<LeaseReport> read_lease(const std::string& folder, const VmUuid& vm) {
    FTVMM_ASSIGN(LeaseReader reader, open(folder, vm));
    LeaseReport report;
    report.folder = folder;
    FTVMM_ASSIGN(report.newest, reader.newest());
    if (report.newest != Generation()) {
        FTVMM_ASSIGN(report.owner,
                     reader.claim(lock::generation_file(report.newest), report.newest));
    }
    FTVMM_ASSIGN(report.record, reader.record(report.newest));
    const Generation next = report.newest + 1;
    FTVMM_ASSIGN(auto names, names_in(folder, fmt::format("claim-{}-", next.value())));
    std::ranges::sort(names);
    for (const std::string& name : names) {
        FTVMM_ASSIGN(auto bid, reader.claim(name, next));
        if (bid) report.bids.push_back(std::move(*bid));
    }
    report.damage = reader.take_damage();
    return report;
}

Result<LeaseHistory> read_lease_history(const std::string& folder, const VmUuid& vm) {
    constexpr std::string_view kBegin = "gen-";
    FTVMM_ASSIGN(LeaseReader reader, open(folder, vm));
    LeaseHistory history;
    history.folder = folder;
    FTVMM_ASSIGN(const auto names, names_in(folder, kBegin));
    for (const std::string& name : names) {
        const auto number = lock::to_number(std::string_view(name).substr(kBegin.size()));
        if (!number) continue;
        LeaseTerm term;
        term.generation = Generation(*number);
        FTVMM_ASSIGN(term.owner, reader.claim(name, term.generation));
        FTVMM_ASSIGN(term.taken, time_of(fmt::format("{}/{}", folder, name)));
        history.terms.push_back(std::move(term));
    }
    std::ranges::sort(history.terms, {}, &LeaseTerm::generation);
    history.damage = reader.take_damage();
    return history;
}

std::string render_text(const LeaseReport& report) {
    std::string text = fmt::format("{}\n", report.folder);
    const auto line = [&](const char* what, const std::string& value) {
        text += fmt::format("  {:<10} {}\n", what, value);
    };
    if (report.newest == Generation()) {
        line("generation", "none: the VM has never run");
    } else {
        line("generation", std::to_string(report.newest.value()));
    }
    if (report.owner) {
        line("host", report.owner->host);
        line("boot id", report.owner->boot_id);
    }
    if (report.record) {
        line("beat", std::to_string(report.record->beat));
        const bool is_newest = report.record->generation == report.newest;
        line("state",
             is_newest ? state_of(*report.record)
                       : fmt::format("{}, of generation {}: the owner has yet to renew",
                                     state_of(*report.record), report.record->generation.value()));
    } else {
        line("state", "no owner has renewed yet");
    }
    for (const lock::Claim& bid : report.bids)
        line("bids next", fmt::format("{}, boot id {}", bid.host, bid.boot_id));
    return text;
}

std::string render_text(const LeaseHistory& history) {
    std::string text =
        fmt::format("{:>10}  {:<23}  {:<36}  {}\n", "generation", "taken", "boot id", "host");
    for (const LeaseTerm& term : history.terms) {
        text += fmt::format("{:>10}  {:<23}  {:<36}  {}\n", term.generation.value(),
                            pki::to_text(term.taken), term.owner ? term.owner->boot_id : "-",
                            term.owner ? term.owner->host : "damaged");
    }
    return text;
}

std::string render_json(const LeaseReport& report) {
    Json json = {{"folder", report.folder}, {"generation", report.newest.value()}};
    json["owner"] = report.owner ? json_of(*report.owner) : Json();
    json["record"] = nullptr;
    if (report.record) {
        json["record"] = {{"generation", report.record->generation.value()},
                          {"beat", report.record->beat},
                          {"state", state_of(*report.record)}};
    }
    json["bids"] = Json::array();
    for (const lock::Claim& bid : report.bids)
        json["bids"].push_back(json_of(bid));
    json["damage"] = report.damage;
    return dump(json);
}

std::string render_json(const LeaseHistory& history) {
    Json json = {{"folder", history.folder}, {"generations", Json::array()}};
    for (const LeaseTerm& term : history.terms) {
        json["generations"].push_back({{"generation", term.generation.value()},
                                       {"taken", pki::to_text(term.taken)},
                                       {"owner", term.owner ? json_of(*term.owner) : Json()}});
    }
    json["damage"] = history.damage;
    return dump(json);
}

}  // namespace ftvmm::cli
