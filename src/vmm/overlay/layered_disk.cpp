#include "vmm/overlay/layered_disk.h"

#include <algorithm>
#include <cerrno>

#include "base/aligned_buffer.h"
#include "base/check.h"

namespace ftvmm::overlay {

namespace {

// What the guest may have to wait for at most.
constexpr std::uint64_t kMoveBytes = std::uint64_t{4} << 20U;
constexpr int kMoveRuns = 32;

}  // namespace

LayeredDisk::LayeredDisk(std::shared_ptr<host::BlockFile> base, std::uint64_t disk_bytes,
                         std::vector<std::unique_ptr<Overlay>> overlays)
    : base_(std::move(base)), disk_bytes_(disk_bytes), overlays_(std::move(overlays)) {
    FTVMM_CHECK(!overlays_.empty(), "a disk without overlays is not in layers");
}

LayeredDisk::Place LayeredDisk::place_of(const Range& range) const {
    Place place{-1, range.length};
    for (std::size_t above = overlays_.size(); above > 0; --above) {
        const auto run = overlays_[above - 1]->run_at({range.offset, place.length});
        place.length = run.length;
        if (run.held) return {static_cast<std::ptrdiff_t>(above) - 1, place.length};
    }
    return place;
}

LayeredDisk::Place LayeredDisk::target_of(const Range& range) const {
    const auto top = static_cast<std::ptrdiff_t>(overlays_.size()) - 1;
    if (!settled_) return {top, range.length};
    // What an overlay holds, or may hold, would hide what is written below it.
    const bool is_doubtful = std::ranges::any_of(
        overlays_, [&](const auto& overlay) { return overlay->is_doubtful(range); });
    if (is_doubtful) return {top, range.length};
    const Place place = place_of(range);
    return {place.overlay < 0 ? -1 : top, place.length};
}

int LayeredDisk::read(std::span<std::byte> bytes, std::uint64_t offset) {
    const auto hold = guard_.use({offset, bytes.size()});
    while (!bytes.empty()) {
        const Place place = place_of({offset, bytes.size()});
        const auto piece = bytes.first(place.length);
        const int error =
            place.overlay < 0
                ? base_->read(piece, offset)
                : overlays_[static_cast<std::size_t>(place.overlay)]->read(piece, offset);
        if (error != 0) return error;
        bytes = bytes.subspan(place.length);
        offset += place.length;
    }
    return 0;
}

template <class Put>
int LayeredDisk::put(const Range& range, Put put_piece) {
    const auto hold = guard_.use(range);
    for (std::uint64_t at = range.offset; at < range.end();) {
        const Place target = target_of({at, range.end() - at});
        const int error = put_piece(target.overlay, Range{at, target.length});
        if (error != 0) return error;
        at += target.length;
    }
    return 0;
}

int LayeredDisk::write(std::span<const std::byte> bytes, std::uint64_t offset) {
    return put({offset, bytes.size()}, [&](std::ptrdiff_t overlay, const Range& piece) {
        const auto part = bytes.subspan(piece.offset - offset, piece.length);
        return overlay < 0 ? base_->write(part, piece.offset)
                           : overlays_.back()->write(part, piece.offset);
    });
}

int LayeredDisk::zero(std::uint64_t offset, std::uint64_t length) {
    return put({offset, length}, [&](std::ptrdiff_t overlay, const Range& piece) {
        return overlay < 0 ? base_->zero(piece.offset, piece.length)
                           : overlays_.back()->zero(piece.offset, piece.length);
    });
}

int LayeredDisk::discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) {
    return 0;
}

// All of them: what a lost host had written, and was told is done, is below.
int LayeredDisk::sync() {
    int error = base_->sync();
    for (const auto& overlay : overlays_) {
        if (error == 0 && (!settled_ || overlay->held() > 0)) error = sync_overlay(*overlay);
    }
    return error;
}

int LayeredDisk::sync_overlay(Overlay& overlay) {
    const int error = overlay.sync();
    return error == ESTALE && overlay.held() == 0 ? 0 : error;
}

Result<void> LayeredDisk::settle() {
    FTVMM_CHECK(!settled_, "a disk settles once");
    // Their writers were others until now. The highest is this host's own.
    for (std::size_t i = 0; i + 1 < overlays_.size(); ++i) {
        auto loaded = overlays_[i]->reload();
        // Deleted by its writer, late, once it held nothing.
        const bool is_gone =
            !loaded && loaded.error().error_number() == ESTALE && overlays_[i]->held() == 0;
        if (!loaded && !is_gone) return loaded;
    }
    // What they hold no more, they are not to hold again behind a loss of power: from here on what
    // is newer goes into the base.
    for (const auto& overlay : overlays_) {
        if (const int error = sync_overlay(*overlay); error != 0) {
            return Failure(Error::from_errno(error, "an overlay can not be synced"));
        }
    }
    // Not while a write is under way that has chosen its file.
    const auto alone = guard_.move({0, disk_bytes_});
    settled_ = true;
    return {};
}

int LayeredDisk::move_some() {
    FTVMM_CHECK(settled_, "what may yet be written by others stays where it is");
    const auto lowest =
        std::ranges::find_if(overlays_, [](const auto& each) { return each->held() > 0; });
    if (lowest == overlays_.end()) return 0;
    Overlay& overlay = **lowest;
    if (cursor_ >= disk_bytes_) cursor_ = 0;
    const std::uint64_t end =
        std::min(disk_bytes_, (cursor_ / SectorMap::kBlockSpan + 1) * SectorMap::kBlockSpan);
    const auto next = overlay.run_at({cursor_, end - cursor_});
    if (!next.held) {
        cursor_ += next.length;
        return 0;
    }
    const Range range = piece_of(overlay, {cursor_, end - cursor_});
    const int error = move_range(overlay, range);
    if (error == 0) cursor_ = range.end();
    return error;
}

// From the first sector of `range`, which is held, as far as what is held is not too much.
Range LayeredDisk::piece_of(const Overlay& overlay, const Range& range) {
    std::uint64_t held = 0;
    std::uint64_t end = range.offset;
    int runs = 0;
    for (std::uint64_t at = range.offset;
         at < range.end() && held < kMoveBytes && runs < kMoveRuns;) {
        const auto run = overlay.run_at({at, range.end() - at});
        const std::uint64_t length =
            run.held ? std::min(run.length, kMoveBytes - held) : run.length;
        at += length;
        if (!run.held) continue;
        ++runs;
        held += length;
        end = at;
    }
    return {range.offset, end - range.offset};
}

int LayeredDisk::move_range(Overlay& overlay, const Range& range) {
    const auto alone = guard_.move(range);
    int error = 0;
    for (std::uint64_t at = range.offset; error == 0 && at < range.end();) {
        const auto run = overlay.run_at({at, range.end() - at});
        const std::uint64_t length = std::min(run.length, kMoveBytes);
        if (run.held) {
            AlignedBuffer buffer(length);
            error = overlay.read(buffer.bytes(), at);
            if (error == 0) error = base_->write(buffer.bytes(), at);
        }
        at += length;
    }
    // Before the overlay forgets it.
    if (error == 0) error = base_->sync();
    return error == 0 ? overlay.forget(range) : error;
}

std::uint64_t LayeredDisk::left() const {
    std::uint64_t sum = 0;
    for (const auto& overlay : overlays_)
        sum += overlay->held();
    return sum;
}

bool LayeredDisk::is_done_with(std::size_t overlay) const {
    const bool is_highest = overlay + 1 == overlays_.size();
    return is_highest ? is_whole() : settled_ && left_in(overlay) == 0;
}

std::uint64_t LayeredDisk::left_in(std::size_t overlay) const {
    return overlays_[overlay]->held();
}

}  // namespace ftvmm::overlay
