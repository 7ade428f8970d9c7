#include "cli/status_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace ftvmm::cli {

namespace {

using Json = nlohmann::ordered_json;

// The document of another process: whatever it holds, what is missing in it is shown as "-".
class Document {
  public:
    explicit Document(const std::string& text) : json_(Json::parse(text, nullptr, false)) {}
    explicit Document(Json json) : json_(std::move(json)) {}

    // At "key" or "key.key".
    [[nodiscard]] const Json& at(std::string_view path) const {
        const Json* json = &json_;
        while (!path.empty()) {
            const std::size_t dot = std::min(path.find('.'), path.size());
            const auto found =
                json->is_object() ? json->find(std::string(path.substr(0, dot))) : json->end();
            if (found == json->end()) return nothing_;
            json = &*found;
            path.remove_prefix(std::min(dot + 1, path.size()));
        }
        return *json;
    }
    [[nodiscard]] bool has(std::string_view path) const { return !at(path).is_null(); }
    [[nodiscard]] std::string text(std::string_view path) const {
        const Json& json = at(path);
        return json.is_string() ? json.get<std::string>() : "-";
    }
    [[nodiscard]] std::string integer(std::string_view path) const {
        const Json& json = at(path);
        return json.is_number_integer() ? std::to_string(json.get<std::int64_t>()) : "-";
    }
    [[nodiscard]] double number(std::string_view path) const {
        const Json& json = at(path);
        return json.is_number() ? json.get<double>() : 0;
    }
    [[nodiscard]] std::string decimal(std::string_view path, std::string_view unit) const {
        if (!at(path).is_number()) return "-";
        return fmt::format("{:.1f} {}", number(path), unit);
    }

  private:
    Json json_;
    Json nothing_;
};

std::string protection_of(const Document& document) {
    std::string text = document.text("protection");
    if (!document.has("clone")) return text;
    text += fmt::format(", round {}", document.integer("clone.round"));
    const double pages = document.number("clone.round_pages");
    if (document.has("clone.round_done") && pages > 0) {
        text += fmt::format(": {:.0f} %", 100 * document.number("clone.round_done") / pages);
    }
    return text;
}

// "link: heard 12 ms ago", "192.0.2.11 to 192.0.2.12: silent, heard 5012 ms ago; ...".
std::string path_of(const Json& json) {
    const Document path(json);
    std::string text = path.text("name") + ": " + path.text("state");
    if (path.has("heard_ms_ago")) {
        text += fmt::format("{} {:.0f} ms ago", path.text("state") == "heard" ? "" : ", heard",
                            path.number("heard_ms_ago"));
    }
    // The link has no beats of its own.
    if (path.number("sent") + path.number("taken") + path.number("refused") > 0) {
        text += fmt::format("; {} beats sent, {} came, {} refused", path.integer("sent"),
                            path.integer("taken"), path.integer("refused"));
    }
    return text;
}

// "/vms/web1.img: merges, 12.4 MiB left in /vms/web1.img.g4".
std::string disk_of(const Json& json) {
    constexpr double kMiB = 1U << 20U;
    const Document disk(json);
    std::string text = disk.text("disk") + ": " + disk.text("state");
    if (disk.has("overlay")) {
        text += fmt::format(", {:.1f} MiB left in {}", disk.number("left_bytes") / kMiB,
                            disk.text("overlay"));
    }
    return text;
}

std::string throttle_of(const Document& document) {
    if (!document.has("duty_percent")) return "-";
    const double duty = document.number("duty_percent");
    return duty >= 100 ? "none" : fmt::format("runs {:.0f} %", duty);
}

std::string lag_of(const Document& document) {
    if (document.has("records_behind")) return document.integer("records_behind") + " records";
    return document.decimal("vlockstep_interval_ms.average", "ms");
}

constexpr std::size_t kColumns = 9;
using Row = std::array<std::string, kColumns>;

Row row_of(const StatusAnswer& answer) {
    Row row{answer.name, answer.is_gone ? "gone" : "silent"};
    std::fill(row.begin() + 2, row.end(), std::string(1, '-'));
    if (answer.document.empty()) return row;
    const Document document(answer.document);
    return {document.text("name"),
            document.text("role"),
            protection_of(document),
            document.text("peer"),
            document.integer("generation"),
            lag_of(document),
            document.decimal("log.mbit_per_s", "Mbit/s"),
            document.decimal("hold.p99_ms", "ms"),
            throttle_of(document)};
}

}  // namespace

std::string render_table(std::span<const StatusAnswer> answers) {
    std::vector<Row> rows{
        {"NAME", "ROLE", "PROTECTION", "PEER", "GENERATION", "LAG", "LOG", "HOLD", "THROTTLE"}};
    std::array<std::size_t, kColumns> widths{};
    std::ranges::transform(answers, std::back_inserter(rows), row_of);
    for (const Row& row : rows) {
        for (std::size_t i = 0; i < kColumns; ++i)
            widths.at(i) = std::max(widths.at(i), row.at(i).size());
    }
    std::string text;
    for (const Row& row : rows) {
        for (std::size_t i = 0; i + 1 < kColumns; ++i)
            text += fmt::format("{:<{}}  ", row.at(i), widths.at(i));
        text += row.back() + "\n";
    }
    return text;
}

std::string render_details(const StatusAnswer& answer) {
    const Document document(answer.document);
    std::string text = fmt::format("{} ({})\n", document.text("name"), document.text("uuid"));
    const auto line = [&](const char* what, const std::string& value) {
        text += fmt::format("  {:<19} {}\n", what, value);
    };
    line("role", fmt::format("{}, on {}", document.text("role"), document.text("host")));
    line("protection", protection_of(document));
    const bool is_secondary = document.text("role") == "secondary";
    if (document.has("peer"))
        line(is_secondary ? "Primary VM on" : "Secondary VM on", document.text("peer"));
    for (const Json& path : document.at("paths"))
        line("path", path_of(path));
    if (document.has("generation")) line("generation", document.integer("generation"));
    if (document.has("protected_in")) line("protected in", document.integer("protected_in"));
    if (document.has("lease_left_s")) {
        line("storage lease", "held for " + document.decimal("lease_left_s", "s") + " yet");
    }
    if (document.has("vlockstep_interval_ms")) {
        line("vLockstep interval",
             fmt::format("{}, now {}", lag_of(document),
                         document.decimal("vlockstep_interval_ms.now", "ms")));
    }
    if (document.has("records_behind")) line("behind the log", lag_of(document));
    if (document.has("log")) {
        line("log bandwidth",
             fmt::format("{}, {} bytes in all", document.decimal("log.mbit_per_s", "Mbit/s"),
                         document.integer("log.bytes")));
    }
    if (document.has("hold")) {
        line("outputs held",
             fmt::format("{}: mean {:.2f}, p50 {:.2f}, p99 {:.2f}, longest {:.2f} ms",
                         document.integer("hold.count"), document.number("hold.mean_ms"),
                         document.number("hold.p50_ms"), document.number("hold.p99_ms"),
                         document.number("hold.longest_ms")));
    }
    if (document.has("duty_percent")) line("throttle", throttle_of(document));
    if (document.has("clone")) {
        line("clone",
             fmt::format("round {}, {} of {} pages; in all {} pages, {} bytes",
                         document.integer("clone.round"), document.integer("clone.round_done"),
                         document.integer("clone.round_pages"), document.integer("clone.pages"),
                         document.integer("clone.bytes")));
    }
    if (document.has("counts")) {
        line("Secondaries",
             fmt::format("{} came, {} lost, {} of them diverged", document.integer("counts.clones"),
                         document.integer("counts.lost"), document.integer("counts.diverged")));
    }
    for (const Json& disk : document.at("disks_in_layers"))
        line("disk", disk_of(disk));
    if (document.has("trouble")) line("trouble", document.text("trouble"));
    return text;
}

std::string render_documents(std::span<const StatusAnswer> answers) {
    Json all = Json::array();
    for (const StatusAnswer& answer : answers) {
        Json json = Json::parse(answer.document, nullptr, false);
        if (json.is_discarded()) json = {{"name", answer.name}, {"problem", answer.problem}};
        all.push_back(std::move(json));
    }
    return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ftvmm::cli
