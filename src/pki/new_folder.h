// A folder that is there with all its files or not at all.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace ftvmm::pki {

// Made beside the place where it is to be, under a name that nobody uses, and open to its owner
// alone; then renamed to that place at once. One that was not renamed is gone with its object. Of
// any number of these for one place, in any processes, each is published whole or not at all.
class NewFolder {
  public:
    // For `path`, whose parent folder exists.
    static Result<NewFolder> beside(const std::string& path);
    NewFolder(NewFolder&& other) noexcept;
    NewFolder& operator=(NewFolder&&) = delete;
    NewFolder(const NewFolder&) = delete;
    NewFolder& operator=(const NewFolder&) = delete;
    ~NewFolder();

    // A new file in it, on the disk when this returns.
    [[nodiscard]] Result<void> write(const std::string& name, std::string_view text, mode_t mode);
    [[nodiscard]] Result<void> make_folder(const std::string& name);

    // An error where there is something already, which stays as it is; an empty folder is nothing.
    [[nodiscard]] Result<void> publish();
    // Takes the place of what is there; returns where that lies now, or an empty text.
    [[nodiscard]] Result<std::string> publish_over();

  private:
    NewFolder(std::string made, std::string place)
        : made_(std::move(made)), place_(std::move(place)) {}

    std::string made_;  // Empty once it is published.
    std::string place_;
};

}  // namespace ftvmm::pki
