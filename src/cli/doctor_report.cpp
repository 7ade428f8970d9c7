#include "cli/doctor_report.h"

#include <fmt/format.h>

#include <iterator>

#include <nlohmann/json.hpp>

namespace ftvmm::cli {

namespace {

const char* name_of_kind(KvmKind kind) {
    switch (kind) {
        case KvmKind::kSvm:
            return "SVM";
        case KvmKind::kVmx:
            return "VMX";
        case KvmKind::kSoftware:
            return "software";
    }
    return "unknown";
}

std::string yes_or_no(bool yes, bool colour) {
    const char* word = yes ? "yes" : "no ";
    if (!colour) return word;
    return fmt::format("\033[{}m{}\033[0m", yes ? 32 : 31, word);
}

}  // namespace

std::string render_text(const HostReport& report, const std::vector<JobVerdict>& verdicts,
                        bool colour) {
    std::string text;
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "KVM          {} ({})\n", name_of_kind(report.kvm), report.kvm_detail);
    fmt::format_to(out, "kernel       {}\nprocessor    {}\n", report.kernel, report.processor);
    if (report.exit_us) {
        fmt::format_to(out, "exit         {:.1f} us to userspace and back\n", *report.exit_us);
    }

    fmt::format_to(out, "\nKVM says it has\n");
    for (const auto& capability : report.capabilities) {
        fmt::format_to(out, "  {}  {:<34} {}\n", yes_or_no(capability.value != 0, colour),
                       capability.name, capability.use);
    }
    fmt::format_to(out, "\nSmall guests prove\n");
    for (const Finding& finding : report.findings) {
        fmt::format_to(out, "  {}  {:<37} {}\n", yes_or_no(finding.works, colour),
                       name_of(finding.ability).title, finding.detail);
    }
    fmt::format_to(out, "\nThis host can be used for\n");
    for (const JobVerdict& verdict : verdicts) {
        fmt::format_to(out, "  {}  {}\n", yes_or_no(verdict.possible, colour), verdict.title);
        if (verdict.possible) continue;
        fmt::format_to(out, "       why:        {}\n       what to do: {}\n", verdict.why_not,
                       verdict.what_to_do);
    }
    return text;
}

std::string render_json(const HostReport& report, const std::vector<JobVerdict>& verdicts) {
    nlohmann::ordered_json json;
    json["kvm"] = {{"kind", name_of_kind(report.kvm)}, {"detail", report.kvm_detail}};
    json["kernel"] = report.kernel;
    json["processor"] = report.processor;
    json["exit_us"] = nullptr;
    if (report.exit_us) json["exit_us"] = *report.exit_us;
    json["million_instructions_per_s"] = report.finding(Ability::kStraightCode).figure;
    for (const auto& capability : report.capabilities) {
        json["capabilities"][capability.name] = capability.value;
    }
    for (const Finding& finding : report.findings) {
        json["abilities"][name_of(finding.ability).id] = {{"works", finding.works},
                                                          {"detail", finding.detail}};
    }
    for (const JobVerdict& verdict : verdicts) {
        json["jobs"][verdict.id] = {{"possible", verdict.possible},
                                    {"why_not", verdict.why_not},
                                    {"what_to_do", verdict.what_to_do}};
    }
    // The processor's name comes from outside: what is not UTF-8 in it is replaced.
    return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace ftvmm::cli
