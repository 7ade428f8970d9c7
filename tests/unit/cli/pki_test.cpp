// What `ftvmm pki show` tells about a certificate.
#include "cli/pki.h"

#include <catch2/catch.hpp>

#include "pki/certificate.h"

using namespace ftvmm;
using namespace std::chrono_literals;

TEST_CASE("The report of a certificate tells whether it is valid now and who has signed it") {
    constexpr std::chrono::sys_seconds kNow{1'800'000'000s};
    const auto validity = pki::Validity::starting(kNow, pki::kHostDays);
    const auto ca = pki::make_authority("one", validity).value();
    const auto other = pki::make_authority("one", validity).value();
    const auto host = pki::issue(ca, "node1", validity).value();
    const auto report = [&](const std::string& authority, std::chrono::sys_seconds at) {
        return cli::pki_report("host.crt", host.certificate, authority, at).value();
    };
    const auto has = [](const std::string& text, const char* part) {
        return text.find(part) != std::string::npos;
    };
    CHECK(has(report(ca.certificate, kNow), "host node1"));
    CHECK(has(report(ca.certificate, kNow), "valid, 1825 days left"));
    CHECK_FALSE(has(report(ca.certificate, kNow), "WRONG"));
    CHECK(has(report(ca.certificate, kNow + pki::kHostDays - 48h), "only 2 days left"));
    CHECK(has(report(ca.certificate, kNow + pki::kHostDays + 1s), "ENDED"));
    CHECK(has(report(ca.certificate, kNow - 6min), "not valid yet"));
    CHECK(has(report(other.certificate, kNow), "WRONG"));
    CHECK_FALSE(cli::pki_report("x", "x", {}, kNow));
}
