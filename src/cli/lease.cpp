#include "cli/lease.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/lease_report.h"
#include "config/read_config.h"

namespace ftvmm::cli {

namespace {

constexpr int kTold = 0;
constexpr int kDamaged = 1;
constexpr int kUnreadable = 2;

// Prints what `read` makes of the shared folder.
template <class Report>
int tell(const char* verb, const LeaseOptions& options,
         Result<Report> (*read)(const std::string&, const VmUuid&)) {
    const auto config = config::load_config(options.file);
    if (!config) {
        for (const config::Problem& problem : config.error())
            fmt::print(stderr, "{}\n", problem.text());
        return kUnreadable;
    }
    if (!config->ft) {
        fmt::print(stderr,
                   "ftvmm lease {}: {} has no [ft], so nobody else may run it; add [ft] with the "
                   "VM's shared folder\n",
                   verb, options.file);
        return kUnreadable;
    }
    const auto report = read(config->ft->shared, config->uuid.bytes);
    if (!report) {
        fmt::print(stderr, "ftvmm lease {}: {}\n", verb, report.error().line());
        return kUnreadable;
    }
    fmt::print("{}", options.json ? render_json(*report) : render_text(*report));
    for (const std::string& line : report->damage)
        fmt::print(stderr, "ftvmm lease {}: {}\n", verb, line);
    return report->damage.empty() ? kTold : kDamaged;
}

}  // namespace

int lease_show(const LeaseOptions& options) {
    return tell("show", options, &read_lease);
}

int lease_history(const LeaseOptions& options) {
    return tell("history", options, &read_lease_history);
}

}  // namespace ftvmm::cli
