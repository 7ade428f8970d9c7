#include "vmm/overlay/overlay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/aligned_buffer.h"

namespace ftvmm::overlay {

namespace {

constexpr std::size_t kBlock = SectorMap::kBlockBytes;

// In memory that any file can be read into.
Result<AlignedBuffer> read_piece(host::BlockFile& file, std::uint64_t offset, std::size_t length) {
    AlignedBuffer piece(length);
    if (const int error = file.read(piece.bytes(), offset); error != 0) {
        return Failure(Error::from_errno(error, "it can not be read"));
    }
    return piece;
}

int write_piece(host::BlockFile& file, std::uint64_t offset, std::span<const std::byte> bytes) {
    AlignedBuffer piece(bytes.size());
    std::ranges::copy(bytes, piece.bytes().begin());
    return file.write(piece.bytes(), offset);
}

std::byte directory_bit(std::size_t index) {
    return static_cast<std::byte>(1U << static_cast<unsigned>(index % 8));
}

Result<void> compare(const OverlayFacts& found, const OverlayFacts& facts) {
    if (found.disk_bytes != facts.disk_bytes) {
        return fail(fmt::format("it lies over a disk of {} bytes, and this one has {}",
                                found.disk_bytes, facts.disk_bytes));
    }
    if (found.base_identity != facts.base_identity) return fail("it lies over another file");
    if (found.generation != facts.generation) {
        return fail(
            fmt::format("it is of generation {}, whatever its name says", found.generation));
    }
    return {};
}

}  // namespace

Result<void> Overlay::format(host::BlockFile& file, const OverlayFacts& facts) {
    int error = write_piece(file, 0, encode_header(facts));
    if (error == 0) error = file.sync();
    if (error != 0) return Failure(Error::from_errno(error, "it can not be written"));
    return {};
}

Overlay::Overlay(std::shared_ptr<host::BlockFile> file, std::uint64_t disk_bytes)
    : file_(std::move(file)),
      disk_bytes_(disk_bytes),
      layout_(layout_of(disk_bytes)),
      map_(disk_bytes) {}

Result<std::unique_ptr<Overlay>> Overlay::load(std::shared_ptr<host::BlockFile> file,
                                               const OverlayFacts& facts) {
    FTVMM_ASSIGN(const AlignedBuffer header, read_piece(*file, 0, kHeaderBytes));
    FTVMM_ASSIGN(const OverlayFacts found, decode_header(header.bytes().first<kHeaderBytes>()));
    FTVMM_TRY(compare(found, facts));
    auto loaded = std::make_unique<Overlay>(std::move(file), facts.disk_bytes);
    FTVMM_TRY(loaded->reload());
    return loaded;
}

Result<void> Overlay::reload() {
    const std::lock_guard storing(storing_);
    const auto length = static_cast<std::size_t>(layout_.map - layout_.directory);
    FTVMM_ASSIGN(const AlignedBuffer directory, read_piece(*file_, layout_.directory, length));
    directory_.assign(directory.bytes().begin(), directory.bytes().end());
    FTVMM_ASSIGN(SectorMap map, load_map());
    const std::lock_guard looking(looking_);
    map_ = std::move(map);
    doubtful_.clear();
    return {};
}

// In large pieces: there may be many thousands of blocks, and a VM may wait for them.
Result<SectorMap> Overlay::load_map() const {
    constexpr std::size_t kBlocks = 256;
    SectorMap map(disk_bytes_);
    const auto is_block = [&](std::size_t index) {
        return (directory_[index / 8] & directory_bit(index)) != std::byte{0};
    };
    for (std::size_t index = map.blocks(); index < directory_.size() * 8; ++index)
        if (is_block(index)) return fail("its directory is damaged");
    for (std::size_t first = 0; first < map.blocks(); first += kBlocks) {
        const std::size_t count = std::min(kBlocks, map.blocks() - first);
        std::vector<std::size_t> there;
        for (std::size_t index = first; index < first + count; ++index)
            if (is_block(index)) there.push_back(index);
        if (there.empty()) continue;
        FTVMM_ASSIGN(const AlignedBuffer blocks,
                     read_piece(*file_, layout_.map + first * kBlock, count * kBlock));
        for (const std::size_t index : there) {
            const auto block = blocks.bytes().subspan((index - first) * kBlock).first<kBlock>();
            if (!map.load(index, block)) return fail("its map is damaged");
        }
    }
    return map;
}

SectorMap::Run Overlay::run_at(const Range& range) const {
    const std::shared_lock looking(looking_);
    return map_.run_at(range);
}

bool Overlay::holds_all(const Range& range) const {
    if (is_doubtful(range)) return false;
    const std::shared_lock looking(looking_);
    return map_.holds_all(range);
}

std::uint64_t Overlay::held() const {
    const std::shared_lock looking(looking_);
    return map_.held();
}

int Overlay::read(std::span<std::byte> bytes, std::uint64_t offset) {
    return file_->read(bytes, layout_.data + offset);
}

int Overlay::write(std::span<const std::byte> bytes, std::uint64_t offset) {
    const int error = file_->write(bytes, layout_.data + offset);
    return error != 0 ? error : hold({offset, bytes.size()});
}

int Overlay::zero(std::uint64_t offset, std::uint64_t length) {
    const int error = file_->zero(layout_.data + offset, length);
    return error != 0 ? error : hold({offset, length});
}

int Overlay::hold(const Range& range) {
    if (holds_all(range)) return 0;
    // Before anything says that it is there: or a loss of power leaves a sector that is neither
    // what it was nor what was written.
    const int error = file_->sync();
    return error != 0 ? error : store(range, true);
}

int Overlay::forget(const Range& range) {
    return store(range, false);
}

bool Overlay::is_doubtful(const Range& range) const {
    const std::shared_lock looking(looking_);
    const auto first = doubtful_.lower_bound(range.offset / SectorMap::kBlockSpan);
    return first != doubtful_.end() && *first * SectorMap::kBlockSpan < range.end();
}

int Overlay::store(const Range& range, bool held) {
    const std::lock_guard storing(storing_);
    for (std::uint64_t at = range.offset; at < range.end();) {
        const auto index = static_cast<std::size_t>(at / SectorMap::kBlockSpan);
        const std::uint64_t end = std::min(range.end(), (index + 1) * SectorMap::kBlockSpan);
        const Range part{at, end - at};
        const int error = store_part(index, part, held);
        const std::lock_guard looking(looking_);
        if (error != 0) {
            doubtful_.insert(index);
            return error;
        }
        doubtful_.erase(index);
        map_.set(part, held);
        at = end;
    }
    return 0;
}

// Only who stores changes the map, so what is looked at here stays.
int Overlay::store_part(std::size_t index, const Range& part, bool held) {
    int error = write_block(index, map_.block_after(index, part, held));
    if (error == 0) error = write_directory(index);
    return error == 0 && !held ? file_->sync() : error;
}

int Overlay::write_block(std::size_t index, const SectorMap::Block& block) {
    return write_piece(*file_, layout_.map + index * kBlock, block);
}

int Overlay::write_directory(std::size_t index) {
    if ((directory_[index / 8] & directory_bit(index)) != std::byte{0}) return 0;
    const std::size_t at = index / 8 / kBlock * kBlock;
    std::vector<std::byte> piece(kBlock);
    std::copy_n(directory_.begin() + static_cast<std::ptrdiff_t>(at), kBlock, piece.begin());
    piece[index / 8 - at] |= directory_bit(index);
    // What the block held before it is known to be one may be anything.
    int error = file_->sync();
    if (error == 0) error = write_piece(*file_, layout_.directory + at, piece);
    if (error == 0) directory_[index / 8] |= directory_bit(index);
    return error;
}

}  // namespace ftvmm::overlay
