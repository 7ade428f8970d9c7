// Shared storage for simulations of hosts that stand still, and of a storage that loses its power.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "vmm/host/block_file.h"

namespace ftvmm::overlay::test {

inline constexpr std::uint64_t kSector = host::kSectorBytes;

// A file as the storage has it, and what of it would outlast a loss of power.
struct SimInode {
    explicit SimInode(std::uint64_t size) : bytes(size), durable(size) {}

    void write(std::span<const std::byte> data, std::uint64_t offset) {
        std::ranges::copy(data, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        for (std::uint64_t at = 0; at < data.size(); at += kSector) {
            std::vector<std::byte> sector(data.begin() + static_cast<std::ptrdiff_t>(at),
                                          data.begin() + static_cast<std::ptrdiff_t>(at + kSector));
            unsynced.emplace_back(offset + at, std::move(sector));
        }
    }
    void sync() {
        if (ignores_sync) return;
        for (const auto& [offset, sector] : unsynced)
            std::ranges::copy(sector, durable.begin() + static_cast<std::ptrdiff_t>(offset));
        unsynced.clear();
    }
    // Each sector that was not synced is there or not.
    void lose_power(SeededEntropy& random) {
        for (const auto& [offset, sector] : unsynced) {
            if (random.below(2) == 0) continue;
            std::ranges::copy(sector, durable.begin() + static_cast<std::ptrdiff_t>(offset));
        }
        unsynced.clear();
        bytes = durable;
    }

    std::vector<std::byte> bytes;
    std::vector<std::byte> durable;
    std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> unsynced;
    bool is_unlinked = false;
    bool ignores_sync = false;  // A bug that must be found.
};

using SimFolder = std::map<std::string, std::shared_ptr<SimInode>>;

// A host's kernel: from some call on it stands still, and what it was to do is done late or never.
struct SimHost {
    struct Late {
        std::shared_ptr<SimInode> inode;
        std::uint64_t offset = 0;
        std::vector<std::byte> bytes;  // Of a write; none: it syncs.
        std::string unlinked;          // Or the file that goes.
    };

    // One call more. Whether it fails, which says nothing of what it does.
    bool step() {
        if (stands_still_in && (*stands_still_in)-- == 0) stands_still = true;
        return faults != nullptr && !stands_still && faults->below(12) == 0;
    }
    // Whether a call that fails is carried out.
    bool is_done_all_the_same() const { return faults->below(2) == 0; }
    void unlink(SimFolder& folder, const std::string& name) {
        (void)step();
        if (stands_still) {
            late.push_back({nullptr, 0, {}, name});
        } else {
            remove(folder, name);
        }
    }
    static void remove(SimFolder& folder, const std::string& name) {
        const auto file = folder.find(name);
        if (file == folder.end()) return;
        file->second->is_unlinked = true;
        folder.erase(file);
    }
    // It wakes up: the first of what it was to do is done.
    void land_one(SimFolder& folder) {
        const Late first = std::move(late.front());
        late.pop_front();
        if (first.inode == nullptr) return remove(folder, first.unlinked);
        if (first.bytes.empty()) return first.inode->sync();
        first.inode->write(first.bytes, first.offset);
    }

    std::optional<std::uint64_t> stands_still_in;
    bool stands_still = false;
    SeededEntropy* faults = nullptr;  // Where calls fail now and then.
    std::deque<Late> late;
};

// A file open on a host.
class SimFile final : public host::BlockFile {
  public:
    SimFile(std::shared_ptr<SimHost> host, std::shared_ptr<SimInode> inode)
        : host_(std::move(host)), inode_(std::move(inode)) {}

    int read(std::span<std::byte> bytes, std::uint64_t offset) override {
        if (host_->step()) return EIO;
        if (inode_->is_unlinked && !host_->stands_still) return ESTALE;
        if (offset + bytes.size() > inode_->bytes.size()) return EIO;
        std::ranges::copy_n(inode_->bytes.begin() + static_cast<std::ptrdiff_t>(offset),
                            static_cast<std::ptrdiff_t>(bytes.size()), bytes.begin());
        // What it has itself on the way.
        for (const SimHost::Late& late : host_->late) {
            if (late.inode != inode_) continue;
            for (std::uint64_t i = 0; i < late.bytes.size(); ++i) {
                const std::uint64_t at = late.offset + i;
                if (at >= offset && at < offset + bytes.size()) bytes[at - offset] = late.bytes[i];
            }
        }
        return 0;
    }
    int write(std::span<const std::byte> bytes, std::uint64_t offset) override {
        const bool fails = host_->step();
        if (offset + bytes.size() > inode_->bytes.size()) return EIO;
        if (fails && !host_->is_done_all_the_same()) return EIO;
        if (host_->stands_still) {
            host_->late.push_back({inode_, offset, {bytes.begin(), bytes.end()}, {}});
        } else {
            inode_->write(bytes, offset);
        }
        return fails ? EIO : 0;
    }
    int zero(std::uint64_t offset, std::uint64_t length) override {
        return write(std::vector<std::byte>(length), offset);
    }
    int discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) override { return 0; }
    int sync() override {
        const bool fails = host_->step();
        if (fails && !host_->is_done_all_the_same()) return EIO;
        if (host_->stands_still) {
            host_->late.push_back({inode_, 0, {}, {}});
        } else {
            inode_->sync();
        }
        return fails ? EIO : 0;
    }

  private:
    std::shared_ptr<SimHost> host_;
    std::shared_ptr<SimInode> inode_;
};

}  // namespace ftvmm::overlay::test
