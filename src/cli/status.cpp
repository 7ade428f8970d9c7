#include "cli/status.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "cli/status_board.h"
#include "cli/status_query.h"
#include "cli/status_report.h"
#include "config/vm_config.h"

namespace ftvmm::cli {

namespace {

constexpr int kTold = 0;
constexpr int kUntold = 1;
constexpr int kWrongUse = 2;
constexpr std::chrono::seconds kWatchEvery{1};

struct Told {
    std::string text;
    std::string problem;  // Or empty.
    int code = kTold;
};

Told tell_all(bool json) {
    const auto answers = ask_all(kControlFolder);
    Told told;
    told.text = json ? render_documents(answers) : render_table(answers);
    for (const StatusAnswer& answer : answers) {
        if (answer.problem.empty()) continue;
        told.problem += fmt::format("ftvmm status: {}\n", answer.problem);
        // Nothing is to be told of a run that is gone.
        if (!answer.is_gone) told.code = kUntold;
    }
    return told;
}

Told tell_one(const std::string& path, bool json) {
    const StatusAnswer answer = ask_status(path);
    if (answer.document.empty()) {
        return {{}, fmt::format("ftvmm status: {}\n", answer.problem), kUntold};
    }
    return {json ? answer.document : render_details(answer), {}, kTold};
}

}  // namespace

int status(const StatusOptions& options) {
    std::string path = options.vm;
    if (!path.empty() && path.find('/') == std::string::npos) {
        if (!config::is_vm_name(path)) {
            fmt::print(stderr,
                       "ftvmm status: '{}' is neither a VM's name nor the path of a socket; write "
                       "web1, or ./web1.sock\n",
                       path);
            return kWrongUse;
        }
        path = fmt::format("{}/{}{}", kControlFolder, path, kControlEnding);
    }
    const bool redraws = options.watch && !options.json && ::isatty(STDOUT_FILENO) == 1;
    while (true) {
        const Told told = path.empty() ? tell_all(options.json) : tell_one(path, options.json);
        // To the upper left corner, and all that was there is gone.
        if (redraws) fmt::print("\x1b[H\x1b[J");
        fmt::print("{}", told.text);
        (void)std::fflush(stdout);
        fmt::print(stderr, "{}", told.problem);
        if (!options.watch) return told.code;
        std::this_thread::sleep_for(kWatchEvery);
    }
}

}  // namespace ftvmm::cli
