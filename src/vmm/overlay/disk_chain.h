// A disk of the guest as its files are: the base, and the overlays beside it. docs/fencing.md
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/host/disk_engine.h"
#include "vmm/host/disk_file.h"
#include "vmm/overlay/layered_disk.h"

namespace ftvmm::overlay {

struct ChainOptions {
    std::string path;  // Of the base.
    host::DiskAccess access = host::DiskAccess::kReadWrite;
    host::DiskLock lock = host::DiskLock::kRequired;
};

// Every file of it is open as long as this lives, and locked as far as it was free. One thread, but
// for what layers() and an engine are asked.
class DiskChain {
  public:
    // As of DiskFile::open(). Also an error: an overlay that is damaged or lies over another disk,
    // and any beside a disk that is only read.
    static Result<std::unique_ptr<DiskChain>> open(const ChainOptions& options);
    DiskChain(const ChainOptions& options, std::string prefix, host::DiskFile base);
    DiskChain(const DiskChain&) = delete;
    DiskChain& operator=(const DiskChain&) = delete;
    ~DiskChain() = default;

    [[nodiscard]] const host::DiskFile& base() const { return base_; }
    // Whether nobody else may write to any of its files; takes the locks that are free now.
    [[nodiscard]] Result<bool> try_locks();
    // Lets no write of this host reach a file that another one may yet write to: into a new overlay
    // of `generation`, which this host owns, unless all is locked. Before an engine is made.
    [[nodiscard]] Result<void> cover(std::uint64_t generation);
    // Null: the base is all there is. Once an engine is made.
    [[nodiscard]] LayeredDisk* layers() const { return layers_.get(); }
    [[nodiscard]] const std::string& path() const { return options_.path; }
    // What the highest overlay is called, or the base.
    [[nodiscard]] const std::string& top() const;
    // For requests of the guest; this outlives it.
    [[nodiscard]] Result<std::unique_ptr<host::DiskEngine>> make_engine();

    // The next step of bringing what the overlays hold into the base once all is locked, or
    // `is_fenced`: the host that this one took over from writes no more; and of deleting them. It
    // waits for the storage, with `may_act` asked behind that: whether this host owns the VM still.
    // True: the disk is whole and locked, and there is nothing left to do; an error may be gone the
    // next time. A thread of its own may call it, with layers().
    [[nodiscard]] Result<bool> bring_home(const std::function<bool()>& may_act, bool is_fenced);

  private:
    struct Layer {
        std::string path;
        std::optional<host::DiskFile> file;  // None: it is deleted.
        std::uint64_t generation = 0;
    };

    [[nodiscard]] Result<void> open_layer(const std::string& path, std::uint64_t generation);
    [[nodiscard]] Result<void> make_layers();
    [[nodiscard]] Result<bool> try_lock_of(std::size_t overlay);
    [[nodiscard]] Result<OverlayFacts> facts_of(std::uint64_t generation) const;

    ChainOptions options_;
    std::string prefix_;  // The overlay of generation 4 is this and ".g4".
    host::DiskFile base_;
    std::deque<Layer> overlays_;  // The lowest first.
    std::shared_ptr<LayeredDisk> layers_;
};

}  // namespace ftvmm::overlay
