#include "vmm/overlay/disk_chain.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <map>
#include <optional>
#include <string_view>

#include "base/random.h"
#include "vmm/overlay/layered_engine.h"

namespace ftvmm::overlay {

namespace {

constexpr mode_t kMode = 0600;

struct Split {
    std::string folder;
    std::string name;
};

Split split(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return {".", path};
    return {path.substr(0, slash + 1), path.substr(slash + 1)};
}

// The 4 of "disk.g4", for "disk".
std::optional<std::uint64_t> generation_in(std::string_view file, std::string_view name) {
    if (!file.starts_with(name)) return std::nullopt;
    file.remove_prefix(name.size());
    if (!file.starts_with(".g")) return std::nullopt;
    file.remove_prefix(2);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(file.begin(), file.end(), number);
    const bool is_plain = !file.empty() && file.front() != '0';
    if (error != std::errc{} || end != file.end() || !is_plain) return std::nullopt;
    return number;
}

// Overlays lie beside the file that the disk is on every host, whatever links lead there.
Result<std::string> prefix_of(const std::string& disk) {
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(disk.c_str(), nullptr),
                                                           &std::free);
    if (real == nullptr) return Failure(Error::from_errno(errno, "disk " + disk));
    return std::string(real.get());
}

// The overlays there are now, by their generations. An NFS client answers from names that it
// remembers, unless it has to ask for the folder first.
Result<std::map<std::uint64_t, std::string>> find_overlays(const std::string& prefix) {
    const Split at = split(prefix);
    FTVMM_ASSIGN(Fd fd, Fd::open(at.folder, O_RDONLY | O_DIRECTORY));
    struct statx facts {};
    if (::statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &facts) !=
        0) {
        return Failure(Error::from_errno(errno, at.folder));
    }
    const int opened = ::openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(opened < 0 ? nullptr : ::fdopendir(opened),
                                                     &::closedir);
    if (folder == nullptr) return Failure(Error::from_errno(errno, at.folder));
    std::map<std::uint64_t, std::string> found;
    while (true) {
        errno = 0;
        const dirent* const entry = ::readdir(folder.get());
        if (entry == nullptr && errno != 0) return Failure(Error::from_errno(errno, at.folder));
        if (entry == nullptr) return found;
        const auto generation = generation_in(entry->d_name, at.name);
        if (generation) found.emplace(*generation, fmt::format("{}.g{}", prefix, *generation));
    }
}

// The same on each host, and another for a file that came to have the same inode: file handles tell
// the inode's generation.
Result<std::uint64_t> identity_of(const host::DiskFile& base) {
    if (base.block_device()) return 0;
    struct Handle {
        file_handle head;
        std::array<unsigned char, MAX_HANDLE_SZ> bytes;
    } handle{};
    handle.head.handle_bytes = MAX_HANDLE_SZ;
    int mount = 0;
    if (::name_to_handle_at(base.fd(), "", &handle.head, &mount, AT_EMPTY_PATH) == 0) {
        return XXH3_64bits(static_cast<const unsigned char*>(handle.head.f_handle),
                           handle.head.handle_bytes);
    }
    if (errno != EOPNOTSUPP) return Failure(Error::from_errno(errno, "the disk's file handle"));
    struct stat facts {};
    if (::fstat(base.fd(), &facts) != 0) return Failure(Error::from_errno(errno, "the disk"));
    return facts.st_ino;
}

// Whole, or not there at all. One that is there already is of this host's earlier try: nobody else
// owns its generation.
Result<void> create_overlay(const std::string& path, const OverlayFacts& facts) {
    SystemEntropy entropy;
    const std::string temporary = fmt::format("{}.tmp-{:016x}", path, entropy.next_u64());
    const auto write = [&]() -> Result<void> {
        const Fd fd(
            ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kMode));
        if (!fd.valid()) return Failure(Error::from_errno(errno, temporary));
        const auto end = static_cast<off_t>(layout_of(facts.disk_bytes).end);
        if (::ftruncate(fd.get(), end) != 0) return Failure(Error::from_errno(errno, temporary));
        host::FdBlockFile file(fd.get(), false);
        return Overlay::format(file, facts);
    };
    auto written = write();
    if (written && ::link(temporary.c_str(), path.c_str()) != 0 && errno != EEXIST) {
        written = Failure(Error::from_errno(errno, path));
    }
    (void)::unlink(temporary.c_str());
    FTVMM_TRY(written);
    FTVMM_ASSIGN(const Fd folder, Fd::open(split(path).folder, O_RDONLY | O_DIRECTORY));
    if (::fsync(folder.get()) != 0) return Failure(Error::from_errno(errno, "its folder"));
    return {};
}

}  // namespace

DiskChain::DiskChain(const ChainOptions& options, std::string prefix, host::DiskFile base)
    : options_(options), prefix_(std::move(prefix)), base_(std::move(base)) {}

Result<std::unique_ptr<DiskChain>> DiskChain::open(const ChainOptions& options) {
    FTVMM_ASSIGN(auto base, host::DiskFile::open(options.path, options.access, options.lock));
    FTVMM_ASSIGN(const std::string prefix, prefix_of(options.path));
    auto chain = std::make_unique<DiskChain>(options, prefix, std::move(base));
    FTVMM_ASSIGN(const auto found, find_overlays(prefix));
    if (!found.empty() && chain->base_.read_only()) {
        return fail(fmt::format("disk {} is not whole: {} holds what was written last",
                                options.path, found.rbegin()->second),
                    "run the VM that writes to it until it says that the disk is whole again");
    }
    for (const auto& [generation, path] : found)
        FTVMM_TRY(chain->open_layer(path, generation));
    return chain;
}

Result<OverlayFacts> DiskChain::facts_of(std::uint64_t generation) const {
    FTVMM_ASSIGN(const std::uint64_t identity, identity_of(base_));
    return OverlayFacts{generation, base_.size(), identity};
}

Result<void> DiskChain::open_layer(const std::string& path, std::uint64_t generation) {
    FTVMM_ASSIGN(auto file, host::DiskFile::open(path, options_.access, options_.lock));
    if (base_.direct() && !file.direct()) {
        return fail("overlay " + path + " can not be written past the page cache (O_DIRECT)");
    }
    overlays_.push_back({path, std::move(file), generation});
    return {};
}

Result<bool> DiskChain::try_locks() {
    FTVMM_ASSIGN(bool all, base_.try_lock());
    for (std::size_t i = 0; i < overlays_.size(); ++i) {
        FTVMM_ASSIGN(const bool locked, try_lock_of(i));
        all = all && locked;
    }
    return all;
}

Result<bool> DiskChain::try_lock_of(std::size_t overlay) {
    Layer& layer = overlays_[overlay];
    if (!layer.file) return true;
    auto locked = layer.file->try_lock();
    // Its writer deleted it, late, once it held nothing.
    if (!locked && locked.error().error_number() == ESTALE && layers_ != nullptr &&
        layers_->left_in(overlay) == 0) {
        layer.file.reset();
        return true;
    }
    return locked;
}

Result<void> DiskChain::cover(std::uint64_t generation) {
    if (base_.read_only()) return {};
    FTVMM_ASSIGN(const bool all_locked, try_locks());
    if (all_locked) return {};
    // Above all there are, whoever counted generations from 1 again.
    if (!overlays_.empty()) generation = std::max(generation, overlays_.back().generation);
    const bool is_own = !overlays_.empty() && overlays_.back().generation == generation &&
                        overlays_.back().file->locked();
    if (is_own) return {};
    if (!overlays_.empty() && overlays_.back().generation == generation) ++generation;
    const std::string path = fmt::format("{}.g{}", prefix_, generation);
    FTVMM_ASSIGN(const OverlayFacts facts, facts_of(generation));
    const auto made = create_overlay(path, facts);
    if (!made) return Failure(made.error().with_context("overlay " + path));
    FTVMM_TRY(open_layer(path, generation));
    if (!overlays_.back().file->locked()) {
        return fail("overlay " + path + " is locked by somebody else");
    }
    return {};
}

const std::string& DiskChain::top() const {
    return overlays_.empty() ? options_.path : overlays_.back().path;
}

Result<void> DiskChain::make_layers() {
    std::vector<std::unique_ptr<Overlay>> overlays;
    for (const Layer& layer : overlays_) {
        FTVMM_ASSIGN(const OverlayFacts facts, facts_of(layer.generation));
        const std::string name = "overlay " + layer.path;
        if (layer.file->size() != layout_of(facts.disk_bytes).end) {
            return fail(name + " has another size than an overlay of this disk");
        }
        auto loaded =
            Overlay::load(std::make_shared<host::FdBlockFile>(layer.file->fd(), false), facts);
        if (!loaded) {
            return Failure(loaded.error().with_context(name).with_advice(
                "do not start the VM without it: it holds the newest of the disk"));
        }
        overlays.push_back(std::move(*loaded));
    }
    auto base = std::make_shared<host::FdBlockFile>(base_.fd(), base_.block_device());
    layers_ = std::make_shared<LayeredDisk>(std::move(base), base_.size(), std::move(overlays));
    return {};
}

Result<std::unique_ptr<host::DiskEngine>> DiskChain::make_engine() {
    if (overlays_.empty()) return host::make_disk_engine(base_);
    FTVMM_TRY(make_layers());
    // Before a write may go into an overlay that holds nothing, and whose deletion is on its way.
    FTVMM_ASSIGN(const bool all_locked, try_locks());
    if (all_locked) FTVMM_TRY(layers_->settle());
    return LayeredEngine::create(base_, layers_);
}

Result<bool> DiskChain::bring_home(const std::function<bool()>& may_act, bool is_fenced) {
    if (layers_ == nullptr) return true;
    FTVMM_ASSIGN(const bool all_locked, try_locks());
    if (!layers_->is_settled()) {
        // Where there were overlays before, other hosts were lost before that one.
        const bool is_free = all_locked || (is_fenced && overlays_.size() == 1);
        if (!is_free || !may_act()) return false;
        FTVMM_TRY(layers_->settle());
        return false;
    }
    // What it does before it finds out that it owns the VM no more changes nothing that a reader
    // of all layers would see.
    if (const int error = layers_->move_some(); error != 0) {
        return Failure(Error::from_errno(error, "disk " + options_.path));
    }
    for (std::size_t i = 0; i < overlays_.size(); ++i) {
        Layer& layer = overlays_[i];
        if (!layer.file || !layers_->is_done_with(i)) continue;
        // The highest is the sign that this host may be writing to what is below it unlocked.
        if (i + 1 == overlays_.size() && !all_locked) return false;
        // Who takes over from a host that owned the VM when this was asked finds an overlay that
        // holds nothing, and never reads from it.
        if (!may_act()) return false;
        // Nobody reads it any more; an NFS client keeps what is open under another name.
        layer.file.reset();
        if (::unlink(layer.path.c_str()) != 0 && errno != ENOENT) {
            return Failure(Error::from_errno(errno, layer.path));
        }
    }
    return all_locked && layers_->is_whole();
}

}  // namespace ftvmm::overlay
