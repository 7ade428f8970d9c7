#include "lock/generation.h"

#include <fmt/format.h>

#include <span>

#include "base/check.h"
#include "lock/fields.h"

namespace ftvmm::lock {

namespace {

constexpr std::string_view kClaimTitle = "ftvmm claim 1";
constexpr std::array<std::string_view, 5> kClaimKeys = {"vm", "generation", "nonce", "host",
                                                        "boot"};
constexpr std::string_view kOwnerTitle = "ftvmm owner 1";
constexpr std::array<std::string_view, 5> kOwnerKeys = {"vm", "generation", "nonce", "beat",
                                                        "state"};
constexpr std::string_view kRuns = "runs";
constexpr std::string_view kEnded = "ended";

bool is_text(std::string_view text) {
    return !text.empty() && text.size() <= Claim::kMaxText;
}

Failure none_that_is_written(std::string_view key) {
    return fail(fmt::format("its \"{}\" is none that is written", key));
}

}  // namespace

Nonce random_nonce(Entropy& entropy) {
    Nonce nonce{};
    entropy.fill(std::as_writable_bytes(std::span(nonce)));
    return nonce;
}

std::string encode_claim(const Claim& claim) {
    FTVMM_CHECK(claim.generation != Generation() && is_text(claim.host) && is_text(claim.boot_id),
                "a claim names a generation and a host");
    const std::array<Field, 5> fields = {{{kClaimKeys[0], to_hex(claim.vm)},
                                          {kClaimKeys[1], std::to_string(claim.generation.value())},
                                          {kClaimKeys[2], to_hex(claim.nonce)},
                                          {kClaimKeys[3], claim.host},
                                          {kClaimKeys[4], claim.boot_id}}};
    return write_fields(kClaimTitle, fields);
}

Result<Claim> decode_claim(std::string_view text) {
    FTVMM_ASSIGN(const auto values, read_fields(text, kClaimTitle, kClaimKeys));
    Claim claim;
    if (!from_hex(values[0], claim.vm)) return none_that_is_written(kClaimKeys[0]);
    const auto generation = to_number(values[1]);
    if (!generation || *generation == 0) return none_that_is_written(kClaimKeys[1]);
    claim.generation = Generation(*generation);
    if (!from_hex(values[2], claim.nonce)) return none_that_is_written(kClaimKeys[2]);
    claim.host = values[3];
    if (!is_text(claim.host)) return none_that_is_written(kClaimKeys[3]);
    claim.boot_id = values[4];
    if (!is_text(claim.boot_id)) return none_that_is_written(kClaimKeys[4]);
    return claim;
}

std::string owner_record_file(Generation generation) {
    return fmt::format("owner-{}", generation.value());
}

std::string generation_file(Generation generation) {
    return fmt::format("gen-{}", generation.value());
}

std::string claim_file(const Claim& claim) {
    return fmt::format("claim-{}-{}", claim.generation.value(), to_hex(claim.nonce));
}

std::string encode_owner_record(const OwnerRecord& record) {
    const std::array<Field, 5> fields = {
        {{kOwnerKeys[0], to_hex(record.vm)},
         {kOwnerKeys[1], std::to_string(record.generation.value())},
         {kOwnerKeys[2], to_hex(record.nonce)},
         {kOwnerKeys[3], std::to_string(record.beat)},
         {kOwnerKeys[4], std::string(record.ended ? kEnded : kRuns)}}};
    return write_fields(kOwnerTitle, fields);
}

Result<OwnerRecord> decode_owner_record(std::string_view text) {
    FTVMM_ASSIGN(const auto values, read_fields(text, kOwnerTitle, kOwnerKeys));
    OwnerRecord record;
    if (!from_hex(values[0], record.vm)) return none_that_is_written(kOwnerKeys[0]);
    const auto generation = to_number(values[1]);
    if (!generation) return none_that_is_written(kOwnerKeys[1]);
    record.generation = Generation(*generation);
    if (!from_hex(values[2], record.nonce)) return none_that_is_written(kOwnerKeys[2]);
    const auto beat = to_number(values[3]);
    if (!beat) return none_that_is_written(kOwnerKeys[3]);
    record.beat = *beat;
    record.ended = values[4] == kEnded;
    if (!record.ended && values[4] != kRuns) return none_that_is_written(kOwnerKeys[4]);
    return record;
}

}  // namespace ftvmm::lock
