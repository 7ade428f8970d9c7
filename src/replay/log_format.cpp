#include "replay/log_format.h"

#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/check.h"
#include "replay/log_bytes.h"
#include "replay/record_codec.h"

namespace ftvmm::replay {

namespace {

// "FTVB".
constexpr std::uint32_t kMagic = 0x4256'5446;
constexpr std::uint8_t kCompressedFlag = 1;
constexpr std::size_t kChecksumAt = 32;  // The header's own, of what is before it.

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
    return XXH3_64bits(bytes.data(), bytes.size());
}

Result<void> check_limits(const BatchHeader& header) {
    const std::size_t most = header.records == 1 ? kMaxRecordBytes : kMaxBatchBytes;
    if (header.records == 0 || header.records > kMaxBatchRecords || header.raw_bytes > most) {
        return fail(fmt::format("a batch of {} records in {} bytes is none that is written",
                                header.records, header.raw_bytes));
    }
    // Compressed ones are smaller, or they are not compressed.
    const bool is_plausible = header.is_compressed ? header.stored_bytes < header.raw_bytes
                                                   : header.stored_bytes == header.raw_bytes;
    if (!is_plausible) {
        return fail(fmt::format("a batch of {} bytes is not stored in {}", header.raw_bytes,
                                header.stored_bytes));
    }
    return {};
}

Result<std::vector<std::byte>> unpack(const BatchHeader& header,
                                      std::span<const std::byte> payload) {
    // A frame says how much it holds: one that lies is found out before anything is allocated.
    if (ZSTD_getFrameContentSize(payload.data(), payload.size()) != header.raw_bytes) {
        return fail("its payload does not unpack to what its header says");
    }
    std::vector<std::byte> raw(header.raw_bytes);
    const std::size_t size =
        ZSTD_decompress(raw.data(), raw.size(), payload.data(), payload.size());
    if (ZSTD_isError(size) != 0 || size != raw.size()) {
        return fail("its payload does not unpack to what its header says");
    }
    return raw;
}

}  // namespace

std::array<std::byte, BatchHeader::kBytes> BatchHeader::encode() const {
    ByteWriter writer;
    writer.fixed(kMagic);
    writer.fixed(kVersion);
    writer.fixed(is_compressed ? kCompressedFlag : std::uint8_t{0});
    writer.fixed(records);
    writer.fixed(first.value());
    writer.fixed(stored_bytes);
    writer.fixed(raw_bytes);
    writer.fixed(checksum);
    writer.fixed(checksum_of(writer.bytes()));
    std::array<std::byte, kBytes> bytes{};
    FTVMM_CHECK(writer.size() == kBytes, "a header has its size");
    std::ranges::copy(writer.bytes(), bytes.begin());
    return bytes;
}

Result<BatchHeader> BatchHeader::decode(std::span<const std::byte, kBytes> bytes) {
    ByteReader reader(bytes);
    if (reader.fixed<std::uint32_t>() != kMagic) return fail("no batch begins there");
    const auto version = reader.fixed<std::uint8_t>();
    const auto flags = reader.fixed<std::uint8_t>();
    BatchHeader header;
    header.records = reader.fixed<std::uint16_t>();
    header.first = Seq(reader.fixed<std::uint64_t>());
    header.stored_bytes = reader.fixed<std::uint32_t>();
    header.raw_bytes = reader.fixed<std::uint32_t>();
    header.checksum = reader.fixed<std::uint64_t>();
    if (reader.fixed<std::uint64_t>() != checksum_of(bytes.first(kChecksumAt))) {
        return fail("the checksum of a batch's header is wrong");
    }
    if (version != kVersion) {
        return fail(fmt::format("a batch is of version {}, and this ftvmm reads version {}",
                                version, kVersion));
    }
    if ((flags & ~kCompressedFlag) != 0) return fail("a batch has flags that there are not");
    header.is_compressed = (flags & kCompressedFlag) != 0;
    FTVMM_TRY(check_limits(header));
    return header;
}

namespace {

bool is_large(std::span<const std::byte> payload) {
    return payload.size() > kMaxBatchBytes;
}

std::vector<std::byte> make_batch(Seq first, std::size_t records,
                                  std::span<const std::byte> payload, std::uint64_t checksum) {
    BatchHeader header;
    header.first = first;
    header.records = static_cast<std::uint16_t>(records);
    header.stored_bytes = static_cast<std::uint32_t>(payload.size());
    header.raw_bytes = header.stored_bytes;
    header.checksum = checksum;
    FTVMM_CHECK(records <= kMaxBatchRecords && check_limits(header), "a batch keeps its limits");
    std::vector<std::byte> batch;
    batch.reserve(BatchHeader::kBytes + payload.size());
    const auto bytes = header.encode();
    batch.insert(batch.end(), bytes.begin(), bytes.end());
    batch.insert(batch.end(), payload.begin(), payload.end());
    return batch;
}

}  // namespace

std::vector<std::byte> make_batch(Seq first, std::size_t records,
                                  std::span<const std::byte> payload) {
    return make_batch(first, records, payload, checksum_of(payload));
}

std::vector<std::byte> make_batch_to_pack(Seq first, std::size_t records,
                                          std::span<const std::byte> payload) {
    return make_batch(first, records, payload, is_large(payload) ? 0 : checksum_of(payload));
}

Result<Batch> decode_batch(std::span<const std::byte> batch) {
    if (batch.size() < BatchHeader::kBytes) return fail("a batch is cut off in its header");
    FTVMM_ASSIGN(const auto header, BatchHeader::decode(batch.first<BatchHeader::kBytes>()));
    const auto payload = batch.subspan(BatchHeader::kBytes);
    if (payload.size() != header.stored_bytes) {
        return fail(fmt::format("a batch has a payload of {} bytes, not of {}", payload.size(),
                                header.stored_bytes));
    }
    return decode_payload(header, payload);
}

Result<Batch> decode_payload(const BatchHeader& header, std::span<const std::byte> payload) {
    if (payload.size() != header.stored_bytes || checksum_of(payload) != header.checksum) {
        return fail("the checksum of a batch's payload is wrong");
    }
    const auto named = [](const Error& error) {
        return Failure(error.with_context("a batch's payload"));
    };
    Batch batch;
    batch.first = header.first;
    std::vector<std::byte> raw;
    if (header.is_compressed) {
        auto unpacked = unpack(header, payload);
        if (!unpacked) return named(unpacked.error());
        raw = std::move(*unpacked);
        payload = raw;
    }
    auto records = decode_records(payload, header.records);
    if (!records) return named(records.error());
    batch.records = std::move(*records);
    return batch;
}

BatchPacker::BatchPacker() : context_(ZSTD_createCCtx()) {
    if (!context_) throw std::bad_alloc();
}

void BatchPacker::Free::operator()(ZSTD_CCtx_s* context) const {
    ZSTD_freeCCtx(context);
}

std::vector<std::byte> BatchPacker::pack(std::vector<std::byte> batch, Effort effort) {
    constexpr int kUsualLevel = 1;
    constexpr int kHurriedLevel = -7;
    auto header = BatchHeader::decode(std::span(batch).first<BatchHeader::kBytes>());
    FTVMM_CHECK(header && !header->is_compressed, "a batch is packed once");
    const auto payload = std::span(batch).subspan(BatchHeader::kBytes);
    if (payload.size() < kLeastBytes) return batch;
    // What does not fit here gains too little.
    std::vector<std::byte> packed(batch.size() - payload.size() / 8);
    const auto target = std::span(packed).subspan(BatchHeader::kBytes);
    const int level = effort == Effort::kUsual ? kUsualLevel : kHurriedLevel;
    const std::size_t size = ZSTD_compressCCtx(context_.get(), target.data(), target.size(),
                                               payload.data(), payload.size(), level);
    header->is_compressed = ZSTD_isError(size) == 0;
    if (header->is_compressed) {
        header->stored_bytes = static_cast<std::uint32_t>(size);
        packed.resize(BatchHeader::kBytes + size);
    } else {
        packed = std::move(batch);
    }
    header->checksum = checksum_of(std::span(packed).subspan(BatchHeader::kBytes));
    const auto bytes = header->encode();
    std::ranges::copy(bytes, packed.begin());
    return packed;
}

}  // namespace ftvmm::replay
