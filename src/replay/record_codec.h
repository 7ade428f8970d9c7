// Records as bytes: docs/log-format.md. Each is written as what changed since the one before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "replay/log_bytes.h"
#include "replay/record.h"

namespace ftvmm::replay {

// What a record is written against. A batch begins with this as it is here, so it can be read
// alone.
struct RecordContext {
    Landmark at;
    std::uint16_t digest = 0;
    std::uint64_t time = 0;     // Of the last input::Time, in nanoseconds.
    std::uint64_t outputs = 0;  // Of the last OutputMark.
    CpuRegisters registers{};   // Of the last Trace.
};

// A payload in the making. One thread.
class RecordEncoder {
  public:
    // Nothing but a blob or a trace makes a record longer than this, blobs not counted.
    static constexpr std::size_t kMaxPlainBytes = 64;
    // What a trace may take in addition.
    static constexpr std::size_t kMaxTraceBytes = 288;

    // Each returns how many bytes the record takes. `at` is not before the last record's, but for
    // a PowerOn, which is at zero.
    std::size_t add(const Record& record);
    std::size_t add(Landmark at, std::uint16_t digest, const Input& input);

    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    // What was added so far, once; the encoder starts over.
    [[nodiscard]] std::vector<std::byte> take();

  private:
    void begin(std::size_t kind, Landmark at, std::uint16_t digest);
    void put(const Input& input);
    void put(const ExitFacts& exit);

    ByteWriter bytes_;
    RecordContext context_;
};

// The `count` records that `payload` holds, and nothing else. An error names the byte at which it
// is none. What it makes this allocate is bounded by `count` and the payload's own size.
[[nodiscard]] Result<std::vector<Record>> decode_records(std::span<const std::byte> payload,
                                                         std::size_t count);

// How many bytes `body` points to.
[[nodiscard]] std::size_t blob_bytes(const Body& body);
[[nodiscard]] std::size_t blob_bytes(const Input& input);

}  // namespace ftvmm::replay
