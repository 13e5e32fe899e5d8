// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that nobody else's has to fetch swift-log.
let package = Package(
    name: "SharedStateLogging",
    products: [.library(name: "SharedStateLogging", targets: ["SharedStateLogging"])],
    dependencies: [
        .package(name: "SharedState", path: ".."),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    ],
    targets: [
        .target(
            name: "SharedStateLogging",
            dependencies: [
                .product(name: "SharedState", package: "SharedState"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: [
                .swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error),
            ])
    ]
)
