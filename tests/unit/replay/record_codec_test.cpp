#include "replay/record_codec.h"

#include <limits>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "replay/log_bytes.h"
#include "sample_log.h"

namespace ftvmm::replay {
namespace {

using testing::bytes_of;
using testing::payload_of;
using testing::sample_records;
using testing::time_at;

std::string error_of(std::span<const std::byte> payload, std::size_t count) {
    const auto decoded = decode_records(payload, count);
    return decoded ? "" : decoded.error().what();
}

// Where a Time every `step` ends up, in bytes each.
double bytes_of_times(std::size_t count, std::uint64_t exits, std::int64_t step_ns) {
    RecordEncoder encoder;
    encoder.add({{1'000'000, 40}, 1, time_at(3'600'000'000'000)});
    const std::size_t before = encoder.size();
    for (std::size_t i = 1; i <= count; ++i) {
        encoder.add({{1'000'000 + i * exits, 40},
                     static_cast<std::uint16_t>(i * 40'503),
                     time_at(3'600'000'000'000 + static_cast<std::int64_t>(i) * step_ns)});
    }
    return static_cast<double>(encoder.size() - before) / static_cast<double>(count);
}

}  // namespace

TEST_CASE("Records of every kind come out as they went in") {
    const auto records = sample_records();
    const auto decoded = decode_records(payload_of(records), records.size());
    REQUIRE(decoded);
    REQUIRE(decoded->size() == records.size());
    for (std::size_t i = 0; i < records.size(); ++i) {
        CAPTURE(i, describe(records[i]));
        CHECK((*decoded)[i] == records[i]);
    }
}

TEST_CASE("Traces come out as they went in, short where little changes and within their limit") {
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    ExitFacts first{ExitReason::kOut, 0x3f8, 1, {}};
    first.registers.fill(0x1234'5678'9abc'def0);
    ExitFacts second = first;
    second.registers.at(kRip) += 3;
    second.registers.at(24) = 0;
    ExitFacts widest{ExitReason::kOther, kMost, kMost, {}};
    for (std::size_t i = 0; i < widest.registers.size(); ++i)
        widest.registers.at(i) = first.registers.at(i) ^ std::uint64_t{1} << 63U;
    const std::vector<Record> records{
        {{1, 0}, 1, record::Trace{first}},  {{1, 0}, 1, time_at(5)},
        {{2, 0}, 2, record::Trace{second}}, {{3, 0}, 3, record::Trace{second}},
        {{}, 4, record::PowerOn{}},         {{kMost, kMost}, 5, record::Trace{widest}},
    };
    RecordEncoder encoder;
    std::vector<std::size_t> bytes;
    bytes.reserve(records.size());
    for (const Record& record : records)
        bytes.push_back(encoder.add(record));
    CHECK(bytes[2] < 30);
    CHECK(bytes[3] < 10);
    for (const std::size_t each : bytes)
        CHECK(each <= RecordEncoder::kMaxPlainBytes + RecordEncoder::kMaxTraceBytes);
    const auto decoded = decode_records(encoder.take(), records.size());
    REQUIRE(decoded);
    CHECK(*decoded == records);
}

TEST_CASE("A trace is laid out as the format says") {
    ExitFacts exit{ExitReason::kRdmsr, 0x174, 3, {}};
    exit.registers.at(1) = 64;
    exit.registers.at(kRip) = ~std::uint64_t{0};
    CHECK(payload_of({{{1, 0}, 0x1234, record::Trace{exit}}}) ==
          bytes_of({0x1d, 0x34, 0x12, 4, 0xf4, 0x02, 3, 0x82, 0x80, 0x04, 0x80, 0x01, 1}));
}

TEST_CASE("A trace of a register or for a reason that there is not is refused") {
    // Kind 13, reason, where, detail, mask.
    CHECK(error_of(bytes_of({0x0d, 9, 0, 0, 0}), 1).empty());
    CHECK(error_of(bytes_of({0x0d, 10, 0, 0, 0}), 1).find("a choice") != std::string::npos);
    // Bit 24 is the last.
    CHECK(error_of(bytes_of({0x0d, 0, 0, 0, 0x80, 0x80, 0x80, 0x08, 2}), 1).empty());
    CHECK(error_of(bytes_of({0x0d, 0, 0, 0, 0x80, 0x80, 0x80, 0x10, 2}), 1).find("a register") !=
          std::string::npos);
    CHECK(error_of(bytes_of({0x0d, 0, 0, 0, 1}), 1).find("cut off") != std::string::npos);
}

TEST_CASE("What was encoded before take() has no part in what is encoded after it") {
    RecordEncoder encoder;
    const auto records = sample_records();
    encoder.add(records[2]);
    (void)encoder.take();
    encoder.add(records[3]);
    const auto alone = decode_records(encoder.take(), 1);
    REQUIRE(alone);
    CHECK(alone->front() == records[3]);
}

TEST_CASE("An input is encoded alike as a view and as a record") {
    for (const Record& record : sample_records()) {
        const auto input = input_of(record.body);
        if (!input) continue;
        CAPTURE(describe(record));
        CHECK(body_of(*input) == record.body);
        RecordEncoder views;
        RecordEncoder records;
        CHECK(views.add(record.at, record.digest, *input) == records.add(record));
        CHECK(views.take() == records.take());
        CHECK(blob_bytes(*input) == blob_bytes(record.body));
    }
}

TEST_CASE("add() says how long a record is, and none but for its bytes is longer than the limit") {
    RecordEncoder encoder;
    for (const Record& record : sample_records()) {
        const std::size_t before = encoder.size();
        const std::size_t bytes = encoder.add(record);
        CHECK(bytes == encoder.size() - before);
        CHECK(bytes <= RecordEncoder::kMaxPlainBytes + blob_bytes(record.body));
    }
}

TEST_CASE("A time takes five or six bytes when a guest is busy") {
    CHECK(bytes_of_times(3000, 2, 10'000) <= 5);   // Reads its clock in a loop.
    CHECK(bytes_of_times(3000, 4, 300'000) <= 6);  // 3,000 a second.
    CHECK(bytes_of_times(3000, 12, 2'000'000) <= 6);
}

TEST_CASE("An idle guest's times take a few hundred bytes a second, a mark and a header included") {
    CHECK(bytes_of_times(25, 14, 40'000'000) * 25 + 13 + BatchHeader::kBytes < 300);
}

TEST_CASE("Records that end before they should are refused wherever that is") {
    const auto records = sample_records();
    const auto payload = payload_of(records);
    for (std::size_t size = 0; size < payload.size(); ++size) {
        CAPTURE(size);
        const auto error = error_of(std::span(payload).first(size), records.size());
        CHECK(error.find("byte") != std::string::npos);
    }
}

TEST_CASE("Bytes behind the last record are refused with their place") {
    const auto records = sample_records();
    auto payload = payload_of(records);
    CHECK(error_of(payload, records.size() - 1).find("ends before it") != std::string::npos);
    const std::string place = std::to_string(payload.size());
    payload.push_back({});
    CHECK(error_of(payload, records.size()).find("at byte " + place) != std::string::npos);
}

TEST_CASE("What no record is made of is refused") {
    CHECK(error_of(bytes_of({0x0e}), 1).find("no known kind") != std::string::npos);
    CHECK(error_of(bytes_of({0x0f}), 1).find("no known kind") != std::string::npos);
    // Console bytes for port 2, a disk request that ended neither well nor badly, end 5.
    CHECK(error_of(bytes_of({0x02, 2, 0}), 1).find("a choice") != std::string::npos);
    CHECK(error_of(bytes_of({0x04, 0, 0, 2, 0}), 1).find("a choice") != std::string::npos);
    CHECK(error_of(bytes_of({0x0c, 5, 0, 0, 0, 0, 0, 0, 0, 0}), 1).find("a choice") !=
          std::string::npos);
    // A card's number beyond 32 bits; a varint beyond 64.
    CHECK(error_of(bytes_of({0x03, 0x80, 0x80, 0x80, 0x80, 0x10, 0}), 1).find("too large") !=
          std::string::npos);
    CHECK(error_of(bytes_of({0x00, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2}), 1)
              .find("longer than any") != std::string::npos);
    // A frame of 2^62 bytes.
    CHECK(error_of(bytes_of({0x03, 0, 255, 255, 255, 255, 255, 255, 255, 255, 63}), 1)
              .find("announced") != std::string::npos);
}

TEST_CASE("Records that go back are refused, but for a power-on at zero") {
    // Times at exit 5, then at exit 4.
    CHECK(error_of(bytes_of({0x50, 0, 0, 1, 0xf0, 4, 0, 0, 0, 1}), 2).find("before the one") !=
          std::string::npos);
    // Exits that run over: 5 on, then 2^64 - 1 on.
    CHECK(error_of(bytes_of({0x50, 0, 0, 1, 0xd0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0,
                             0, 1}),
                   2)
              .find("before the one") != std::string::npos);
    // A power-on at exit 5, and one at zero behind it.
    CHECK(error_of(bytes_of({0x57, 0, 0, 0}), 1).find("before the one") != std::string::npos);
    CHECK(error_of(bytes_of({0x50, 0, 0, 1, 0xf7, 0, 0, 0, 0, 0}), 2).empty());
}

TEST_CASE("Times and outputs are counted from zero behind a power-on") {
    // Twice a time of 5 and output mark 7, as differences, with a power-on between.
    const auto decoded = decode_records(bytes_of({0x00, 5, 0x09, 7, 0x07, 0, 0x00, 5, 0x09, 7}), 5);
    REQUIRE(decoded);
    CHECK(decoded->at(3).body == Body(time_at(5)));
    CHECK(decoded->at(4).body == Body(record::OutputMark{7}));
}

TEST_CASE("Small numbers of either sign are small in zigzag, and all come back") {
    CHECK(to_zigzag(0) == 0);
    CHECK(to_zigzag(-1) == 1);
    CHECK(to_zigzag(1) == 2);
    for (const std::int64_t value :
         {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 62U,
          std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
        CHECK(from_zigzag(to_zigzag(value)) == value);
    }
}

}  // namespace ftvmm::replay
