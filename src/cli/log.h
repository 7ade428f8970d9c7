// `ftvmm log`: what a log holds, and whether it is whole.
#pragma once

#include <cstdint>
#include <string>

namespace ftvmm::cli {

struct LogOptions {
    std::string log;
    bool json = false;
    // Of `show` alone: the first record, and how many.
    std::uint64_t from = 0;
    std::uint64_t count = UINT64_MAX;
};

// Each reads the log up to its end or to where it is damaged. Returns 0 if that was its end; 1 if
// it is damaged, with a line on standard error that names the place; 2 if it can not be read at
// all.

// How many records of which kind, and how much of the guest's life.
int log_stat(const LogOptions& options);
// A line for each record.
int log_show(const LogOptions& options);
// Whether all of it is whole.
int log_verify(const LogOptions& options);

}  // namespace ftvmm::cli
