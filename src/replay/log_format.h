// Batches of records as bytes, on disk and on the wire: docs/log-format.md. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "replay/record.h"

struct ZSTD_CCtx_s;

namespace ftvmm::replay {

// What a batch of several records holds at most, uncompressed: zstd gains little beyond it, and it
// is what a torn log can lose.
inline constexpr std::size_t kMaxBatchBytes = std::size_t{64} << 10U;
// No record takes less than a byte, most take five. Bounds what a reader makes of a batch.
inline constexpr std::size_t kMaxBatchRecords = 16384;
// What one record holds at most; one that is too large for a batch of several has one of its own. A
// checkpoint that would be larger must be made earlier. Bounds what any bytes can make a reader
// allocate.
inline constexpr std::size_t kMaxRecordBytes = std::size_t{256} << 20U;

struct BatchHeader {
    static constexpr std::size_t kBytes = 40;
    static constexpr std::uint8_t kVersion = 1;

    Seq first;
    std::uint16_t records = 0;       // At least one.
    bool is_compressed = false;      // One zstd frame.
    std::uint32_t stored_bytes = 0;  // Of the payload that follows.
    std::uint32_t raw_bytes = 0;     // Uncompressed.
    std::uint64_t checksum = 0;      // Of the payload as it is stored.

    [[nodiscard]] std::array<std::byte, kBytes> encode() const;
    // An error: it is damaged, or of another version, or of no batch within the limits.
    static Result<BatchHeader> decode(std::span<const std::byte, kBytes> bytes);
};

// A batch of `payload`, uncompressed.
[[nodiscard]] std::vector<std::byte> make_batch(Seq first, std::size_t records,
                                                std::span<const std::byte> payload);
// The same, but where the payload is larger than kMaxBatchBytes it has no checksum yet, which would
// be of no use: BatchPacker::pack() makes a batch of it.
[[nodiscard]] std::vector<std::byte> make_batch_to_pack(Seq first, std::size_t records,
                                                        std::span<const std::byte> payload);
// `batch` from one end to the other. Any bytes may be given. An error says what is wrong, with the
// byte.
[[nodiscard]] Result<Batch> decode_batch(std::span<const std::byte> batch);
// The same, for a header that was decoded.
[[nodiscard]] Result<Batch> decode_payload(const BatchHeader& header,
                                           std::span<const std::byte> payload);

// Compresses batches. Apart from who makes them, so that it can be another thread. One thread.
class BatchPacker {
  public:
    enum class Effort : std::uint8_t {
        kUsual,    // Level 1: a guest may wait for it.
        kHurried,  // Half the time, half as many bytes more: a guest does wait.
    };
    // Less is not tried: there is nothing to gain.
    static constexpr std::size_t kLeastBytes = 256;

    BatchPacker();

    // `batch`, of make_batch() or make_batch_to_pack(), made smaller; or with its payload as it is
    // where that gains less than an eighth.
    [[nodiscard]] std::vector<std::byte> pack(std::vector<std::byte> batch,
                                              Effort effort = Effort::kUsual);

  private:
    struct Free {
        void operator()(ZSTD_CCtx_s* context) const;
    };
    std::unique_ptr<ZSTD_CCtx_s, Free> context_;
};

}  // namespace ftvmm::replay
