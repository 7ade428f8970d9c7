#include "vmm/machine/checkpoint_codec.h"

#include <array>
#include <bit>
#include <cstring>

#include "vmm/machine/state_codec.h"

namespace ftvmm::machine {

namespace {

constexpr std::uint8_t kVersion = 1;
// A message takes 6 KiB; bounds what a damaged one can make its reader allocate.
constexpr std::size_t kMaxCpuBytes = std::size_t{64} << 10U;

constexpr std::size_t kLines = kPageBytes / kLineBytes;

const std::byte* line_at(std::span<const std::byte, kPageBytes> page, std::size_t line) {
    return page.subspan(line * kLineBytes).data();
}

// Calls `each` with the first line and the number of lines of every run of set bits.
template <class Function>
void for_each_run(std::uint64_t lines, Function each) {
    std::size_t at = 0;
    while (lines != 0) {
        const auto zeros = static_cast<std::size_t>(std::countr_zero(lines));
        lines >>= zeros;
        const auto ones = static_cast<std::size_t>(std::countr_one(lines));
        each(at + zeros, ones);
        at += zeros + ones;
        lines = ones == kLines ? 0 : lines >> ones;
    }
}

std::size_t bytes_of(std::uint64_t lines) {
    return static_cast<std::size_t>(std::popcount(lines)) * kLineBytes;
}

}  // namespace

// The library's comparison of a line is twice as fast as what g++ 12 makes of a loop over words,
// and five times under emulation.
std::uint64_t lines_not_zero(std::span<const std::byte, kPageBytes> page) {
    static constexpr std::array<std::byte, kLineBytes> kZeroes{};
    std::uint64_t lines = 0;
    for (std::size_t i = 0; i < kLines; ++i) {
        const bool any = std::memcmp(line_at(page, i), kZeroes.data(), kLineBytes) != 0;
        lines |= std::uint64_t{any} << i;
    }
    return lines;
}

std::uint64_t lines_that_differ(std::span<const std::byte, kPageBytes> one,
                                std::span<const std::byte, kPageBytes> other) {
    std::uint64_t lines = 0;
    for (std::size_t i = 0; i < kLines; ++i) {
        const bool differ = std::memcmp(line_at(one, i), line_at(other, i), kLineBytes) != 0;
        lines |= std::uint64_t{differ} << i;
    }
    return lines;
}

void copy_lines(std::uint64_t lines, std::span<const std::byte, kPageBytes> from,
                std::span<std::byte, kPageBytes> to) {
    for_each_run(lines, [&](std::size_t first, std::size_t count) {
        const std::size_t at = first * kLineBytes;
        std::memcpy(to.subspan(at).data(), from.subspan(at).data(), count * kLineBytes);
    });
}

void PageLines::store(std::span<std::byte, kPageBytes> target) const {
    auto from = data;
    for_each_run(lines, [&](std::size_t first, std::size_t count) {
        const std::size_t bytes = count * kLineBytes;
        std::memcpy(target.subspan(first * kLineBytes).data(), from.data(), bytes);
        from = from.subspan(bytes);
    });
}

CheckpointEncoder::CheckpointEncoder(std::uint64_t number, const CpuState& cpu) {
    bytes_.fixed(kVersion);
    bytes_.varint(number);
    const std::string message = encode(cpu).SerializeAsString();
    bytes_.blob(std::as_bytes(std::span(message)));
}

// From the page before, at least 1: 0 ends a list.
std::uint64_t CheckpointEncoder::step_to(std::uint64_t page) {
    const std::uint64_t step = page + 1 - next_page_;
    next_page_ = page + 1;
    return step;
}

void CheckpointEncoder::add_lines(std::uint64_t lines,
                                  std::span<const std::byte, kPageBytes> bytes) {
    bytes_.fixed(lines);
    for_each_run(lines, [&](std::size_t first, std::size_t count) {
        bytes_.raw(bytes.subspan(first * kLineBytes, count * kLineBytes));
    });
}

void CheckpointEncoder::add_whole(std::uint64_t page, std::span<const std::byte, kPageBytes> bytes,
                                  bool becomes_hot) {
    bytes_.varint(step_to(page) << 1U | std::uint64_t{becomes_hot});
    add_lines(lines_not_zero(bytes), bytes);
}

void CheckpointEncoder::add_hot(std::uint64_t page, std::span<const std::byte, kPageBytes> bytes,
                                std::uint64_t lines) {
    bytes_.varint(step_to(page));
    add_lines(lines, bytes);
}

void CheckpointEncoder::end_pages() {
    bytes_.varint(0);
    next_page_ = 0;
}

namespace {

class Reader {
  public:
    Reader(std::span<const std::byte> bytes, std::uint64_t memory_pages)
        : bytes_(bytes), memory_pages_(memory_pages) {}

    Result<Checkpoint> read() {
        Checkpoint checkpoint;
        if (bytes_.fixed<std::uint8_t>() != kVersion) bytes_.fail("it is of another version");
        checkpoint.number = bytes_.varint();
        const auto cpu = bytes_.blob();
        for (std::uint64_t head = bytes_.varint(); head != 0; head = bytes_.varint())
            checkpoint.whole.push_back({page_lines(head >> 1U), (head & 1U) != 0});
        next_page_ = 0;
        for (std::uint64_t head = bytes_.varint(); head != 0; head = bytes_.varint())
            checkpoint.hot.push_back(page_lines(head));
        if (!bytes_.is_at_end()) bytes_.fail("it goes on behind its end");
        if (bytes_.failure()) return fail("it is no checkpoint: " + *bytes_.failure());
        FTVMM_ASSIGN(checkpoint.cpu, read_cpu(cpu));
        return checkpoint;
    }

  private:
    PageLines page_lines(std::uint64_t step) {
        PageLines page;
        if (step == 0 || step > memory_pages_ - next_page_) {
            bytes_.fail("it names a page that the guest does not have");
            return page;
        }
        page.page = next_page_ + step - 1;
        next_page_ += step;
        page.lines = bytes_.fixed<std::uint64_t>();
        page.data = bytes_.raw(bytes_of(page.lines));
        return page;
    }
    static Result<CpuState> read_cpu(std::span<const std::byte> message) {
        pb::Cpu from;
        if (message.size() > kMaxCpuBytes ||
            !from.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
            return fail("it is no checkpoint: its processor is no message");
        }
        Decoder in({});
        CpuState cpu = decode(in, from);
        if (const auto fits = in.result(); !fits) {
            return Failure(fits.error().with_context("it is no checkpoint"));
        }
        return cpu;
    }

    replay::ByteReader bytes_;
    std::uint64_t memory_pages_;
    std::uint64_t next_page_ = 0;
};

}  // namespace

Result<Checkpoint> decode_checkpoint(std::span<const std::byte> bytes, std::uint64_t memory_pages) {
    return Reader(bytes, memory_pages).read();
}

}  // namespace ftvmm::machine
