#include "heartbeat/verdict.h"

#include <fmt/format.h>

#include <iterator>

#include "base/overloaded.h"

namespace ftvmm::heartbeat {

namespace {

std::int64_t ms_of(BootClock::duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

std::string describe(const std::vector<PathSilence>& paths) {
    std::string text = "the peer is silent";
    const char* joint = " on path";
    for (const PathSilence& silence : paths) {
        fmt::format_to(std::back_inserter(text), "{} {} for {} ms", joint, silence.path.value(),
                       ms_of(silence.silent_for));
        joint = ", on path";
    }
    return text;
}

}  // namespace

std::string describe(const Verdict& verdict) {
    return std::visit(
        Overloaded{[](const verdict::Alive&) { return std::string("the peer is heard again"); },
                   [](const verdict::Suspect& of) { return describe(of.paths) + ": suspect"; },
                   [](const verdict::Dead& of) { return describe(of.paths) + ": dead"; },
                   [](const verdict::ProcessGone& of) {
                       return fmt::format(
                           "the peer's process is gone: its host says so on {} of its paths",
                           of.refused_by.size());
                   },
                   [](const verdict::Stopped& of) {
                       return fmt::format(
                           "this side was stopped for {} ms: the peer gets its full time",
                           ms_of(of.gap));
                   }},
        verdict);
}

}  // namespace ftvmm::heartbeat
