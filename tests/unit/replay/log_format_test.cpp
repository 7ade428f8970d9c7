#include "replay/log_format.h"

#include <algorithm>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "base/random.h"
#include "sample_log.h"

namespace ftvmm::replay {
namespace {

using testing::batch_of;
using testing::payload_of;
using testing::sample_batches;
using testing::sample_records;

std::vector<std::byte> random_bytes(std::size_t count) {
    std::vector<std::byte> bytes(count);
    SeededEntropy(3).fill(bytes);
    return bytes;
}

std::vector<std::byte> with_header(const BatchHeader& header, std::span<const std::byte> payload) {
    const auto bytes = header.encode();
    std::vector<std::byte> batch(bytes.begin(), bytes.end());
    batch.insert(batch.end(), payload.begin(), payload.end());
    return batch;
}

BatchHeader header_of(std::span<const std::byte> batch) {
    const auto header = BatchHeader::decode(batch.first<BatchHeader::kBytes>());
    REQUIRE(header);
    return *header;
}

std::string error_of(std::span<const std::byte> batch) {
    const auto decoded = decode_batch(batch);
    return decoded ? "" : decoded.error().what();
}

}  // namespace

TEST_CASE("A batch holds its records and their numbers") {
    const auto records = sample_records();
    const auto batch = decode_batch(batch_of(Seq(812), records));
    REQUIRE(batch);
    CHECK(*batch == Batch{Seq(812), records});
}

TEST_CASE("A batch that zstd makes smaller is stored smaller, and reads the same") {
    const std::vector<Record> records{
        {{}, 0, record::Packet{0, std::vector<std::byte>(3000)}},
        {{}, 0, record::Packet{0, std::vector<std::byte>(3000)}},
    };
    BatchPacker packer;
    const auto plain = batch_of(Seq(1), records);
    const auto packed = packer.pack(plain);
    CHECK(packed.size() < 200);
    CHECK(header_of(packed).is_compressed);
    const auto decoded = decode_batch(packed);
    REQUIRE(decoded);
    CHECK(*decoded == Batch{Seq(1), records});
}

TEST_CASE("A batch that is packed in a hurry reads the same") {
    const std::vector<Record> records{{{}, 0, record::Packet{0, std::vector<std::byte>(3000)}}};
    BatchPacker packer;
    const auto packed = packer.pack(batch_of(Seq(1), records), BatchPacker::Effort::kHurried);
    CHECK(packed.size() < 200);
    const auto decoded = decode_batch(packed);
    REQUIRE(decoded);
    CHECK(*decoded == Batch{Seq(1), records});
    const auto noise = batch_of(Seq(1), {{{}, 0, record::Packet{0, random_bytes(3000)}}});
    CHECK(packer.pack(noise, BatchPacker::Effort::kHurried) == noise);
}

TEST_CASE("A batch that zstd does not make smaller is left alone") {
    BatchPacker packer;
    const auto noise = batch_of(Seq(1), {{{}, 0, record::Packet{0, random_bytes(3000)}}});
    CHECK(packer.pack(noise) == noise);
    const auto small = batch_of(Seq(1), {{{}, 0, record::Packet{0, std::vector<std::byte>(100)}}});
    CHECK(packer.pack(small) == small);
}

TEST_CASE("A record of many MiB is a batch of its own") {
    const std::vector<Record> records{{{5, 1}, 7, record::Checkpoint{random_bytes(9 << 20)}}};
    BatchPacker packer;
    const auto decoded = decode_batch(packer.pack(batch_of(Seq(1), records)));
    REQUIRE(decoded);
    CHECK(decoded->records == records);
}

TEST_CASE("A batch that is made to be packed is whole once it is packed, well or not at all") {
    BatchPacker packer;
    for (const auto& state : {std::vector<std::byte>(3 << 20), random_bytes(3 << 20)}) {
        const std::vector<Record> records{{{5, 1}, 7, record::Checkpoint{state}}};
        const auto payload = payload_of(records);
        const auto decoded = decode_batch(packer.pack(make_batch_to_pack(Seq(1), 1, payload)));
        REQUIRE(decoded);
        CHECK(decoded->records == records);
    }
    // One that may also stay as it is, is whole at once.
    const std::vector<Record> small{{{}, 0, record::Packet{0, random_bytes(3000)}}};
    CHECK(make_batch_to_pack(Seq(1), 1, payload_of(small)) == batch_of(Seq(1), small));
}

TEST_CASE("Every bit of a batch is under a checksum") {
    for (const auto& batch : sample_batches()) {
        REQUIRE(decode_batch(batch));
        for (std::size_t bit = 0; bit < batch.size() * 8; ++bit) {
            auto flipped = batch;
            flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
            CAPTURE(bit);
            REQUIRE(!decode_batch(flipped));
        }
    }
}

TEST_CASE("A batch that is cut off or too long is refused") {
    const auto batch = sample_batches().front();
    for (std::size_t size = 0; size < batch.size(); ++size)
        REQUIRE(!decode_batch(std::span(batch).first(size)));
    auto longer = batch;
    longer.push_back({});
    CHECK(error_of(longer).find("a payload of") != std::string::npos);
}

TEST_CASE("A batch beyond the limits is refused by its header alone") {
    const auto payload = payload_of(sample_records());
    const auto header = header_of(batch_of(Seq(0), sample_records()));
    const auto error_with = [&](auto change) {
        auto changed = header;
        change(changed);
        const auto decoded = BatchHeader::decode(changed.encode());
        return decoded ? std::string() : decoded.error().what();
    };
    CHECK(error_with([](BatchHeader&) {}).empty());
    const std::string none_written = "none that is written";
    CHECK(error_with([](BatchHeader& h) { h.records = 0; }).find(none_written) !=
          std::string::npos);
    CHECK(error_with([](BatchHeader& h) { h.records = kMaxBatchRecords + 1; }).find(none_written) !=
          std::string::npos);
    // Several records in more than a batch, one in more than any record.
    CHECK(error_with([](BatchHeader& h) {
              h.raw_bytes = h.stored_bytes = kMaxBatchBytes + 1;
          }).find(none_written) != std::string::npos);
    CHECK(error_with([](BatchHeader& h) {
              h.records = 1;
              h.raw_bytes = h.stored_bytes = kMaxRecordBytes + 1;
          }).find(none_written) != std::string::npos);
    CHECK(error_with([](BatchHeader& h) { ++h.raw_bytes; }).find("is not stored in") !=
          std::string::npos);
    CHECK(error_with([](BatchHeader& h) { h.is_compressed = true; }).find("is not stored in") !=
          std::string::npos);
}

TEST_CASE("A compressed batch that does not hold what it says is refused") {
    auto batch = sample_batches().back();
    auto header = header_of(batch);
    REQUIRE(header.is_compressed);
    const auto payload = std::span(batch).subspan(BatchHeader::kBytes);
    header.raw_bytes += 1;
    CHECK(error_of(with_header(header, payload)).find("does not unpack") != std::string::npos);
    header.raw_bytes -= 2;
    CHECK(error_of(with_header(header, payload)).find("does not unpack") != std::string::npos);
}

TEST_CASE("A batch of another version is named, and one with unknown flags is refused") {
    // The checksum of a header that another version would have written is right.
    const auto with_byte = [](std::size_t at, std::byte value) {
        auto batch = batch_of(Seq(0), sample_records());
        batch[at] = value;
        const auto sum = testing::checksum_of(std::span(batch).first(32));
        std::ranges::copy(sum, batch.begin() + 32);
        return error_of(batch);
    };
    CHECK(with_byte(4, std::byte{2}) == "a batch is of version 2, and this ftvmm reads version 1");
    CHECK(with_byte(5, std::byte{2}).find("flags") != std::string::npos);
    CHECK(with_byte(5, std::byte{0}).empty());
}

}  // namespace ftvmm::replay
