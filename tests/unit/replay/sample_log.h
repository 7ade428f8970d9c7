// A small log that holds every kind of record, with small and with large numbers.
#pragma once

#include <xxhash.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "replay/log_format.h"
#include "replay/log_header.h"
#include "replay/record.h"
#include "replay/record_codec.h"

namespace ftvmm::replay::testing {

inline std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
    std::vector<std::byte> bytes;
    for (const int value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

inline input::Time time_at(std::int64_t nanoseconds) {
    return {GuestTime(GuestTime::duration(nanoseconds))};
}

inline std::vector<Record> sample_records() {
    using namespace record;
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    const std::chrono::sys_time<std::chrono::nanoseconds> wall(
        std::chrono::nanoseconds(1'700'000'000'123'456'789));
    return {
        {{}, 0x1111, PowerOn{bytes_of({1, 2, 3})}},
        {{}, 0x1111, input::WallClock{wall}},
        {{1, 0}, 0x2222, time_at(1'000)},
        {{1, 0}, 0x2222, record::ConsoleBytes{bytes_of({'o', 'k'}), ConsolePort::kVirtio}},
        {{13, 0}, 0x3333, Packet{1, bytes_of({0, 0, 255})}},
        {{26, 0}, 0x4444, DiskCompletion{2, 300, true, bytes_of({7})}},
        {{26, 0}, 0x4444, DiskCompletion{0, kMost, false, {}}},
        {{1000, 0}, 0x5555, Entropy{9, bytes_of({8, 8})}},
        {{1000, 1}, 0x5555, Checkpoint{bytes_of({4, 5, 6, 7})}},
        {{1000, 1}, 0x5555, input::PowerButton{}},
        {{1001, 1}, 0x6666, OutputMark{1}},
        {{1001, 1}, 0x6666, OutputMark{1'000'000}},
        {{1002, 3}, 0x7777, Audit{0x0123'4567'89ab'cdef}},
        {{1002, 3}, 0x7777, Mark{0x8899'aabb'ccdd'7777}},
        {{1002, 3}, 0x7777, End{EndKind::kReset, 0x8899'aabb'ccdd'7777}},
        {{}, 0x1111, PowerOn{}},
        {{}, 0x1111, input::WallClock{-wall.time_since_epoch() + decltype(wall)()}},
        {{kMost - 1, kMost}, 0x9999, time_at(std::numeric_limits<std::int64_t>::max())},
        {{kMost, kMost}, 0xaaaa, time_at(0)},
        {{kMost, kMost}, 0xaaaa, End{EndKind::kPoweredOff, kMost}},
    };
}

inline LogHeader sample_header() {
    LogHeader header;
    header.build = "0.1.0-g12345678";
    header.vm_name = "mail";
    header.vm_uuid = "6f9619ff-8b86-4d11-b42d-00c04fc964ff";
    header.memory_bytes = std::uint64_t{512} << 20U;
    header.cpu_model = "v2";
    header.cpuid_hash = "00112233";
    header.host_cpu = "AuthenticAMD family 25 model 33 stepping 2";
    header.kernel_hash = "aabb";
    header.initrd_hash = "ccdd";
    header.command_line = "quiet root=/dev/vda1";
    header.disks = {{1U << 30U, false, "eeff"}, {4096, true, ""}};
    header.macs = {"52:54:00:12:34:56"};
    header.created_at = std::chrono::sys_time<std::chrono::nanoseconds>(
        std::chrono::nanoseconds(1'700'000'000'000'000'000));
    return header;
}

// XXH3-64 as a log stores it.
inline std::array<std::byte, 8> checksum_of(std::span<const std::byte> bytes) {
    const std::uint64_t sum = XXH3_64bits(bytes.data(), bytes.size());
    std::array<std::byte, 8> stored{};
    for (std::size_t i = 0; i < stored.size(); ++i)
        stored.at(i) = static_cast<std::byte>(sum >> (8U * i));
    return stored;
}

inline std::vector<std::byte> payload_of(const std::vector<Record>& records) {
    RecordEncoder encoder;
    for (const Record& record : records)
        encoder.add(record);
    return encoder.take();
}

inline std::vector<std::byte> batch_of(Seq first, const std::vector<Record>& records) {
    return make_batch(first, records.size(), payload_of(records));
}

// The sample records in three batches, the last of them compressed where that pays.
inline std::vector<std::vector<std::byte>> sample_batches() {
    const auto records = sample_records();
    std::vector<Record> last(records.begin() + 15, records.end());
    // Something that zstd makes smaller.
    last.insert(last.begin() + 2,
                Record{{}, 0x1111, record::Packet{0, std::vector<std::byte>(600)}});
    BatchPacker packer;
    return {batch_of(Seq(0), {records.begin(), records.begin() + 7}),
            batch_of(Seq(7), {records.begin() + 7, records.begin() + 15}),
            packer.pack(batch_of(Seq(15), last))};
}

}  // namespace ftvmm::replay::testing
