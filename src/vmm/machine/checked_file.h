// Files that are whole or not there, and the hash of what passes through.
#pragma once

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace ftvmm::machine {

// XXH3-64 of all that was added so far.
class Checksum {
  public:
    Checksum();
    void add(std::span<const std::byte> bytes);
    [[nodiscard]] std::uint64_t value() const;

  private:
    struct Free {
        void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
    };
    std::unique_ptr<XXH3_state_t, Free> state_;
};

// A new file under `path`, or what was there before: written beside it, as PATH.part, and renamed
// once all of it is on the disk. Without commit() nothing is left. Two at once of one path: the
// last to begin is the one that can commit. Readable to its owner alone.
class AtomicFile {
  public:
    static Result<AtomicFile> create(const std::string& path);
    AtomicFile(AtomicFile&& other) noexcept = default;
    AtomicFile& operator=(AtomicFile&&) = delete;
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;
    ~AtomicFile();

    [[nodiscard]] Result<void> write(std::span<const std::byte> bytes);
    // Of all that was written.
    [[nodiscard]] std::uint64_t checksum() const { return checksum_.value(); }
    // After it the file is there, through a power cut too.
    [[nodiscard]] Result<void> commit();

  private:
    AtomicFile(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
    [[nodiscard]] std::string part() const { return path_ + ".part"; }
    [[nodiscard]] Result<void> sync_directory() const;

    std::string path_;
    Fd fd_;
    Checksum checksum_;
};

// Reads a file from its start to its end.
class FileReader {
  public:
    static Result<FileReader> open(const std::string& path);

    // Fills all of `target`; a file that ends before is an error.
    [[nodiscard]] Result<void> read(std::span<std::byte> target);
    [[nodiscard]] Result<bool> is_at_end();
    // Of all that was read.
    [[nodiscard]] std::uint64_t checksum() const { return checksum_.value(); }

  private:
    explicit FileReader(Fd fd) : fd_(std::move(fd)) {}
    [[nodiscard]] Result<std::size_t> read_some(std::span<std::byte> target);

    Fd fd_;
    Checksum checksum_;
};

}  // namespace ftvmm::machine
