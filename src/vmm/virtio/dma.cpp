#include "vmm/virtio/dma.h"

#include <algorithm>
#include <utility>

namespace ftvmm::virtio {

namespace {

// How many pages there are up to the end of RAM, those of the hole in it included.
std::uint64_t pages_up_to_end(const GuestMemory& memory) {
    const RamBlock last = memory.blocks().back();
    return (last.start.value() + last.bytes.size()) / kPageBytes;
}

}  // namespace

Dma::Dma(const GuestMemory& memory) : memory_(&memory), is_written_(pages_up_to_end(memory)) {}

bool Dma::contains(Gpa address, std::uint64_t length) const {
    return length != 0 && memory_->find(address, length).size() == length;
}

std::span<const std::byte> Dma::read(Gpa address, std::uint64_t length) const {
    return memory_->find(address, length);
}

bool Dma::write(Gpa address, std::span<const std::byte> source) {
    if (source.empty()) return true;
    if (!memory_->write(address, source)) return false;
    const std::uint64_t last = (address.value() + source.size() - 1) / kPageBytes;
    for (std::uint64_t page = address.value() / kPageBytes; page <= last; ++page) {
        if (is_written_[page]) continue;
        is_written_[page] = true;
        written_pages_.push_back(page);
    }
    return true;
}

MemoryPieces Dma::pieces_of(std::span<const Range> ranges) const {
    MemoryPieces pieces{{}, memory_->owner()};
    pieces.pieces.reserve(ranges.size());
    for (const Range& range : ranges)
        pieces.pieces.push_back(memory_->find(range.address, range.length));
    return pieces;
}

std::vector<std::uint64_t> Dma::take_written_pages() {
    for (const std::uint64_t page : written_pages_)
        is_written_[page] = false;
    return std::exchange(written_pages_, {});
}

std::vector<std::byte> gather(const Dma& dma, std::span<const Range> ranges, std::uint64_t limit) {
    std::vector<std::byte> bytes;
    bytes.reserve(std::min(limit, total_length(ranges)));
    for (const Range& range : ranges) {
        const auto source = dma.read(range.address, range.length);
        const auto take = std::min<std::uint64_t>(source.size(), limit - bytes.size());
        const auto part = source.first(take);
        bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return bytes;
}

void gather(const Dma& dma, std::span<const Range> ranges, std::uint64_t offset,
            std::span<std::byte> target) {
    for (const Range& range : ranges) {
        if (target.empty()) return;
        if (offset >= range.length) {
            offset -= range.length;
            continue;
        }
        const auto take = std::min<std::uint64_t>(range.length - offset, target.size());
        const auto source = dma.read(range.address + offset, take);
        std::ranges::copy(source, target.begin());
        target = target.subspan(source.size());
        offset = 0;
    }
    std::ranges::fill(target, std::byte{0});
}

std::uint64_t scatter(Dma& dma, std::span<const Range> ranges, std::uint64_t offset,
                      std::span<const std::byte> source) {
    std::uint64_t done = 0;
    for (const Range& range : ranges) {
        if (done == source.size()) break;
        if (offset >= range.length) {
            offset -= range.length;
            continue;
        }
        const auto take = std::min(range.length - offset, source.size() - done);
        if (!dma.write(range.address + offset, source.subspan(done, take))) break;
        done += take;
        offset = 0;
    }
    return done;
}

std::uint64_t total_length(std::span<const Range> ranges) {
    std::uint64_t sum = 0;
    for (const Range& range : ranges)
        sum += range.length;
    return sum;
}

}  // namespace ftvmm::virtio
