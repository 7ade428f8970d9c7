#include "cli/pki.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "pki/certificate_facts.h"
#include "pki/pki_folder.h"

namespace ftvmm::cli {

namespace {

// A host whose certificate ends sooner is pointed out.
constexpr std::chrono::days kSoon{30};

std::chrono::sys_seconds now() {
    return std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
}

pki::Validity validity_of(const PkiOptions& options, std::chrono::days usual) {
    return pki::Validity::starting(now(),
                                   options.days > 0 ? std::chrono::days(options.days) : usual);
}

pki::Replace replace_of(const PkiOptions& options) {
    return options.force ? pki::Replace::kAllowed : pki::Replace::kForbidden;
}

int failed(const char* verb, const Error& error) {
    fmt::print(stderr, "ftvmm pki {}: {}\n", verb, error.line());
    return 1;
}

std::string state_text(const pki::CertificateFacts& facts, std::chrono::sys_seconds time) {
    if (time < facts.from) return "not valid yet: is this host's clock right?";
    if (time > facts.until) return "ENDED";
    const auto left = std::chrono::floor<std::chrono::days>(facts.until - time);
    return fmt::format("valid, {}{} days left", left < kSoon ? "only " : "", left.count());
}

struct Shown {
    std::string path;
    std::string authority;  // A path, or empty.
};

// The certificates of a folder: an authority's with those of its hosts, or a host's.
std::vector<Shown> certificates_in(const std::string& folder) {
    namespace fs = std::filesystem;
    const std::string authority = folder + "/" + pki::kAuthorityFile;
    std::vector<Shown> found{{authority, {}}};
    std::error_code error;
    if (fs::exists(folder + "/" + pki::kHostFile, error)) {
        found.push_back({folder + "/" + pki::kHostFile, authority});
    }
    std::vector<std::string> hosts;
    for (const auto& entry : fs::directory_iterator(folder + "/" + pki::kHostsFolder, error))
        if (pki::is_host_name(entry.path().filename().string())) hosts.push_back(entry.path());
    std::ranges::sort(hosts);
    for (const std::string& host : hosts)
        found.push_back({host + "/" + pki::kHostFile, authority});
    return found;
}

Result<void> show(const Shown& shown) {
    FTVMM_ASSIGN(const std::string pem, pki::read_pem_file(shown.path));
    std::string authority;
    if (!shown.authority.empty()) {
        FTVMM_ASSIGN(authority, pki::read_pem_file(shown.authority));
    }
    FTVMM_ASSIGN(const std::string report, pki_report(shown.path, pem, authority, now()));
    fmt::print("{}", report);
    return {};
}

}  // namespace

int pki_init(const PkiOptions& options) {
    const auto old =
        pki::init_folder(options.path, options.cluster, validity_of(options, pki::kAuthorityDays),
                         replace_of(options));
    if (!old) return failed("init", old.error());
    if (!old->empty()) fmt::print("the authority before lies in {} now\n", *old);
    fmt::print(
        "made {}; keep {}/{} to yourself, then run for each host: ftvmm pki issue {} --host NAME\n",
        options.path, options.path, pki::kAuthorityKeyFile, options.path);
    return 0;
}

int pki_issue(const PkiOptions& options) {
    const auto path = pki::issue_in_folder(
        options.path, options.host, validity_of(options, pki::kHostDays), replace_of(options));
    if (!path) return failed("issue", path.error());
    fmt::print("made {}; copy this folder to {} and nowhere else\n", *path, options.host);
    return 0;
}

int pki_show(const PkiOptions& options) {
    std::error_code error;
    const auto all = std::filesystem::is_directory(options.path, error)
                         ? certificates_in(options.path)
                         : std::vector<Shown>{{options.path, {}}};
    int code = 0;
    for (const Shown& shown : all) {
        const auto result = show(shown);
        if (!result) code = failed("show", result.error());
    }
    return code;
}

Result<std::string> pki_report(const std::string& name, const std::string& pem,
                               const std::string& authority, std::chrono::sys_seconds now) {
    const auto facts = pki::read_facts(pem);
    if (!facts) return Failure(facts.error().with_context(name));
    std::string text = fmt::format("{}\n", name);
    const auto line = [&](const char* what, const std::string& value) {
        text += fmt::format("  {:<10} {}\n", what, value);
    };
    line("is for", facts->is_authority ? "the cluster's authority"
                                       : fmt::format("host {}", fmt::join(facts->hosts, ", ")));
    line("subject", facts->subject);
    if (facts->issuer != facts->subject) line("issuer", facts->issuer);
    line("from", pki::to_text(facts->from));
    line("until", pki::to_text(facts->until));
    line("now", state_text(*facts, now));
    line("serial", facts->serial);
    line("sha256", facts->sha256);
    if (!authority.empty()) {
        FTVMM_ASSIGN(const bool is_ours, pki::is_signed_by(pem, authority));
        if (!is_ours) line("WRONG", "the authority beside it has not signed it");
    }
    return text;
}

}  // namespace ftvmm::cli
