export declare const nodeFlags: ReadonlyArray<string>
export declare const nodeEnvironment: Readonly<Record<string, string>>
