#include "cli/doctor_report.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace ftvmm::cli {
namespace {

HostReport software_host() {
    HostReport report;
    report.kvm = KvmKind::kSoftware;
    report.kvm_detail = "kvm_pvm";
    report.kernel = "6.1.0";
    report.processor = "A \"quoted\" processor";
    report.capabilities.push_back({"KVM_CAP_SYNC_REGS", "exit digests", 7});
    for (const AbilityName& name : ability_names()) {
        const bool works = name.ability != Ability::kKernelSse;
        const double figure = name.ability == Ability::kStraightCode ? 1.25 : 0;
        report.findings.push_back({name.ability, works, works ? "seen" : "KVM gave up", figure});
    }
    report.exit_us = 2.5;
    return report;
}

TEST_CASE("The text ends in the table of jobs with each reason and remedy") {
    const HostReport report = software_host();
    const std::string text = render_text(report, judge(report), false);
    CHECK_THAT(text, Catch::Contains("KVM          software (kvm_pvm)"));
    CHECK_THAT(text, Catch::Contains("no   SSE in kernel mode                    KVM gave up"));
    CHECK_THAT(text, Catch::Contains("  yes  small guests\n"));
    CHECK_THAT(text, Catch::Contains("  no   a Linux guest\n       why:        lacks SSE in kernel "
                                     "mode\n       what to do: use a host"));
    CHECK(text.find('\033') == std::string::npos);
    CHECK(render_text(report, judge(report), true).find("\033[31mno") != std::string::npos);
}

TEST_CASE("The JSON parses and holds the same facts") {
    const HostReport report = software_host();
    const auto json = nlohmann::json::parse(render_json(report, judge(report)));
    CHECK(json["kvm"]["kind"] == "software");
    CHECK(json["processor"] == "A \"quoted\" processor");
    CHECK(json["capabilities"]["KVM_CAP_SYNC_REGS"] == 7);
    CHECK(json["abilities"]["kernel_sse"]["works"] == false);
    CHECK(json["abilities"]["kernel_sse"]["detail"] == "KVM gave up");
    CHECK(json["jobs"]["small_guests"]["possible"] == true);
    CHECK(json["jobs"]["lockstep"]["possible"] == false);
    CHECK(json["exit_us"] == 2.5);
    CHECK(json["million_instructions_per_s"] == 1.25);
}

}  // namespace
}  // namespace ftvmm::cli
