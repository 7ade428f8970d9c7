#include "lock/generation.h"

#include <string>

#include <catch2/catch.hpp>

#include "lock/fields.h"

namespace ftvmm::lock {
namespace {

Claim some_claim() {
    Claim claim;
    for (std::size_t i = 0; i < claim.vm.size(); ++i) {
        claim.vm.at(i) = static_cast<std::uint8_t>(i);
        claim.nonce.at(i) = static_cast<std::uint8_t>(0xf0 + i);
    }
    claim.generation = Generation(8);
    claim.host = "alpha.example";
    claim.boot_id = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
    return claim;
}

TEST_CASE("A claim is text that people can read, and comes back as it was") {
    const std::string text = encode_claim(some_claim());
    CHECK(
        text.starts_with("ftvmm claim 1\n"
                         "vm 000102030405060708090a0b0c0d0e0f\n"
                         "generation 8\n"
                         "nonce f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff\n"
                         "host alpha.example\n"
                         "boot 1b4e28ba-2fa1-11d2-883f-0016d3cca427\n"
                         "checksum "));
    CHECK(*decode_claim(text) == some_claim());
    CHECK(generation_file(Generation(8)) == "gen-8");
    CHECK(claim_file(some_claim()) == "claim-8-f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
}

TEST_CASE("An owner's record comes back as it was, and is no claim") {
    OwnerRecord record;
    record.generation = Generation(3);
    record.nonce = some_claim().nonce;
    record.beat = ~std::uint64_t{0};
    const std::string text = encode_owner_record(record);
    CHECK(*decode_owner_record(text) == record);
    CHECK_THAT(text, Catch::Contains("\nbeat 18446744073709551615\nstate runs\nchecksum "));
    record.ended = true;
    CHECK_THAT(encode_owner_record(record), Catch::Contains("\nstate ended\nchecksum "));
    CHECK(*decode_owner_record(encode_owner_record(record)) == record);
    CHECK(!decode_claim(text));
    CHECK(!decode_owner_record(encode_claim(some_claim())));
}

TEST_CASE("An owner's record runs or has ended, and is in no other state") {
    const auto with = [](const std::string& state) {
        const std::array<Field, 5> fields = {{{"vm", std::string(32, '0')},
                                              {"generation", "1"},
                                              {"nonce", std::string(32, '0')},
                                              {"beat", "1"},
                                              {"state", state}}};
        return decode_owner_record(write_fields("ftvmm owner 1", fields));
    };
    CHECK(!with("runs")->ended);
    CHECK(with("ended")->ended);
    for (const char* other : {"", "end", "ended ", "Ended", "paused"})
        CHECK(!with(other));
}

TEST_CASE("A claim that is cut off, changed or longer anywhere is refused") {
    const std::string text = encode_claim(some_claim());
    for (std::size_t size = 0; size < text.size(); ++size)
        REQUIRE(!decode_claim(text.substr(0, size)));
    for (std::size_t i = 0; i < text.size(); ++i) {
        for (const char other : {'\0', '\n', ' ', '0', 'f', '\xff'}) {
            auto changed = text;
            changed[i] = other;
            if (changed != text) REQUIRE(!decode_claim(changed));
            REQUIRE(!decode_claim(text.substr(0, i) + other + text.substr(i)));
        }
    }
    CHECK(!decode_claim(text + "\n"));
    CHECK(!decode_claim(std::string(kMaxFileBytes + 1, 'x')));
}

TEST_CASE("What no claim says is refused, whatever its checksum") {
    const auto with = [](std::string vm, std::string generation, std::string host) {
        const std::array<Field, 5> fields = {{{"vm", std::move(vm)},
                                              {"generation", std::move(generation)},
                                              {"nonce", std::string(32, '0')},
                                              {"host", std::move(host)},
                                              {"boot", "b"}}};
        return decode_claim(write_fields("ftvmm claim 1", fields));
    };
    const std::string vm(32, 'a');
    CHECK(with(vm, "1", "h"));
    CHECK(with(vm, "18446744073709551615", std::string(255, 'h')));
    CHECK(!with(std::string(32, 'A'), "1", "h"));
    CHECK(!with(std::string(31, 'a'), "1", "h"));
    CHECK(!with(vm, "0", "h"));
    CHECK(!with(vm, "01", "h"));
    CHECK(!with(vm, "-1", "h"));
    CHECK(!with(vm, "18446744073709551616", "h"));
    CHECK(!with(vm, "", "h"));
    CHECK(!with(vm, "1", ""));
    CHECK(!with(vm, "1", std::string(256, 'h')));
}

TEST_CASE("Each nonce is another") {
    SeededEntropy entropy(1);
    CHECK(random_nonce(entropy) != random_nonce(entropy));
}

}  // namespace
}  // namespace ftvmm::lock
