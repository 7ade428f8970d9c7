// What a cluster's authority makes, and what it refuses to make.
#include "pki/certificate.h"

#include <catch2/catch.hpp>

#include "pki/certificate_facts.h"

using namespace ftvmm;
using namespace ftvmm::pki;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::sys_seconds kNow{1'800'000'000s};

Credential authority(const std::string& name = "one") {
    return make_authority(name, Validity::starting(kNow, kAuthorityDays)).value();
}

CertificateFacts facts_of_host(const Credential& by, const std::string& host,
                               std::chrono::days days = kHostDays) {
    return read_facts(issue(by, host, Validity::starting(kNow, days)).value().certificate).value();
}

}  // namespace

TEST_CASE("A host's certificate names the host and its authority, and is no authority") {
    const Credential ca = authority();
    const auto ca_facts = read_facts(ca.certificate).value();
    const auto host = facts_of_host(ca, "node1.lab");
    CHECK(ca_facts.is_authority);
    CHECK(ca_facts.hosts.empty());
    CHECK_FALSE(host.is_authority);
    CHECK(host.hosts == std::vector<std::string>{"node1.lab"});
    CHECK(host.issuer == ca_facts.subject);
    CHECK(host.issuer.find("CN=one") != std::string::npos);
}

TEST_CASE("A certificate begins a little before now and never outlives its authority") {
    const Credential ca = authority();
    const auto usual = facts_of_host(ca, "a");
    CHECK(usual.from == kNow - 5min);
    CHECK(usual.until == kNow + kHostDays);
    CHECK(facts_of_host(ca, "a", 100 * kAuthorityDays).until == kNow + kAuthorityDays);
}

TEST_CASE("An authority that has ended certifies nothing") {
    const Validity late = Validity::starting(kNow + kAuthorityDays + 1h, kHostDays);
    const auto issued = issue(authority(), "a", late);
    REQUIRE_FALSE(issued);
    CHECK(issued.error().line().find("ended on") != std::string::npos);
}

TEST_CASE("No two certificates have a serial number or an authority's name in common") {
    const Credential one = authority();
    const Credential two = authority();
    CHECK(facts_of_host(one, "a").serial != facts_of_host(one, "a").serial);
    CHECK(facts_of_host(one, "a").serial.size() == 32);
    CHECK(read_facts(one.certificate)->subject != read_facts(two.certificate)->subject);
}

TEST_CASE("Who has signed a certificate is told from who has not") {
    const Credential one = authority();
    const Credential two = authority();
    const Credential host = issue(one, "a", Validity::starting(kNow, kHostDays)).value();
    CHECK(is_signed_by(host.certificate, one.certificate).value());
    CHECK_FALSE(is_signed_by(host.certificate, two.certificate).value());
}

TEST_CASE("A host certifies nobody, and no key serves a certificate that is not its own") {
    const Credential ca = authority();
    const Validity validity = Validity::starting(kNow, kHostDays);
    const Credential host = issue(ca, "a", validity).value();
    CHECK_FALSE(issue(host, "b", validity));
    CHECK_FALSE(issue({.certificate = ca.certificate, .key = host.key}, "b", validity));
}

TEST_CASE("Names that hosts may have pass and no others do") {
    for (const char* name : {"a", "node1", "n-1.example.com", "1.example", "x--y"})
        CHECK(is_host_name(name));
    for (const char* name : {"", ".", "a.", ".a", "a..b", "-a", "a-", "A", "*.a", "10.0.0.1", "a b",
                             "a/b", "..", "a,DNS:b", "a_b", "::1", "7"})
        CHECK_FALSE(is_host_name(name));
    CHECK(is_host_name(std::string(63, 'a')));
    CHECK_FALSE(is_host_name(std::string(64, 'a')));
    CHECK_FALSE(is_host_name(std::string(63, 'a') + "." + std::string(63, 'a') + "." +
                             std::string(63, 'a') + "." + std::string(62, 'a')));
    CHECK_FALSE(make_authority(" x", Validity::starting(kNow, kHostDays)));
    CHECK_FALSE(make_authority("a/CN=b", Validity::starting(kNow, kHostDays)));
}

TEST_CASE("The longest host name stands whole in its certificate") {
    const std::string part(61, 'a');
    const std::string name = part + "." + part + "." + part + "." + part;
    CHECK(facts_of_host(authority(), name).hosts == std::vector<std::string>{name});
}

TEST_CASE("What is no certificate is refused with a reason") {
    for (const char* text :
         {"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"})
        CHECK_FALSE(read_facts(text).has_value());
}
